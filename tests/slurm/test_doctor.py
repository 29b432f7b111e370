"""``harness doctor --cluster`` on clusters of several kinds."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.launch.slurm.inspection import Check, inspect
from harness.launch.slurm.probe import probe
from harness.launch.slurm.resources import Resources
from harness.launch.slurm.settings import settings
from tests.slurm import accounting
from tests.slurm.slurm_cluster import GRACE_SECONDS, Cluster

pytestmark = pytest.mark.slurm


def doctor(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Check]]:
    capsys.readouterr()
    code = main(["doctor", "--cluster", "slurm", "--json", *map(str, arguments)])
    return code, {each["what"]: Check(**each) for each in json.loads(capsys.readouterr().out)}


def test_a_cluster_without_accounting(cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results"
    code, found = doctor(capsys, "--results", results)
    assert code == 0, found
    assert found["accounting"].found == "none"
    assert "your accounts" not in found
    assert (found["JobRequeue"].state, found["JobRequeue"].found) == ("ok", "1")
    assert found["preemption"].found == "partition_prio, REQUEUE"
    assert found["preempt_send_user_signal"].found == "off"
    assert found["memory"].state == "note"
    assert found["MinJobAge"].found == "60 s"
    assert found["partition toys*"].means == "where jobs go"
    assert found["partition toys*"].found.startswith("up, 4 nodes up, 2 CPUs, 64000 MB each")
    assert found["what jobs ask for"].state == "ok"
    assert found["a job"].found.startswith("ran on n")
    assert [found[what].found for what in ("hard links", "rename")] == ["work there", "work there"]
    assert found["package there"].state == found["Python there"].state == "ok"
    assert found["clocks"].found in ("0 s apart", "1 s apart")
    assert not results.exists(), "nothing is left"

    assert main(["doctor", "--cluster", "slurm", "--probe-seconds", "0"]) == 0
    assert "no sacct; nothing needs it" in capsys.readouterr().out


def test_a_cluster_with_accounting_and_without_it_again(
    accounted: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = doctor(capsys, "--results", tmp_path)
    assert code == 0, found
    assert found["accounting"].found == "sacct answers"
    assert accounting.ACCOUNT in found["your accounts"].found
    assert f"{accounting.LIMITED} ({accounting.LIMITED_JOBS} in the queue)" in found["limits of QOS"].found
    accounted.kill("slurmdbd")
    try:
        code, found = doctor(capsys, "--probe-seconds", 0)
        assert (code, found["accounting"].state) == (0, "note")
        assert "sacct fails" in found["accounting"].found
    finally:
        accounted.start_database_daemon()


def test_a_cluster_that_requeues_nothing(strict: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = doctor(capsys, "--probe-seconds", 0)
    assert (code, found["JobRequeue"].state, found["JobRequeue"].found) == (0, "note", "0")
    assert "requeue: false" in found["JobRequeue"].means


def test_a_cluster_that_warns_before_it_preempts(warning: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    _, found = doctor(capsys, "--probe-seconds", 0)
    assert found["preempt_send_user_signal"].found == "on"
    assert f"GraceTime {GRACE_SECONDS} s" in found["partition toys*"].found


def test_a_controller_that_is_away(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.kill("slurmctld")
    try:
        settings.cache_clear()
        code, found = doctor(capsys)
    finally:
        cluster.start_controller()
    assert (code, list(found)) == (1, ["Slurm"])
    assert "did not answer" in found["Slurm"].found


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Resources(cpus=64), "node configuration is not available"),
        (Resources(gpus=1), "Invalid generic resource"),
        (Resources(account="nobodys"), "Invalid account"),
        (Resources(qos="none"), "Invalid qos"),
    ],
)
def test_what_a_kind_of_stage_would_be_refused(accounted: Cluster, wish: Resources, words: str) -> None:
    found = {check.what: check for check in inspect(Resources(), {"train": wish})}
    assert (found["what jobs ask for"].state, found["what jobs ask for, train"].state) == ("ok", "fails"), found
    assert words in found["what jobs ask for, train"].means
    assert not accounted.command("squeue", "--noheader").stdout


def test_a_busy_queue_is_a_word_and_no_failure(cluster: Cluster, tmp_path: Path) -> None:
    cluster.command("sbatch", "--nodes=4", "--exclusive", "--output=/dev/null", "--wrap=sleep 60")
    cluster.wait(lambda: set(cluster.node_states().values()) == {"allocated"}, 30, "full nodes")
    (check,) = probe(tmp_path, Resources(), 2.0)
    assert (check.state, check.found) == ("note", "has not begun within 2 s")
    left = cluster.command("squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%j").stdout.split()
    assert left == ["wrap"]


def test_what_a_node_lacks_is_told(cluster: Cluster, tmp_path: Path) -> None:
    (check,) = probe(tmp_path, Resources(python=("/no/such/python",)), 30.0)
    assert check.state == "fails"
    assert "/no/such/python" in check.found
    (check,) = probe(tmp_path, Resources(partition="nonsense"), 30.0)
    assert check.state == "fails"
    assert "invalid partition" in check.found
    hidden = f"mount -t tmpfs none {tmp_path}"
    inside = probe(
        tmp_path, Resources(python=("unshare", "-m", "sh", "-c", f'{hidden} && exec python3 "$@"', "sh")), 30.0
    )
    assert inside[0].state == "fails"
    assert "same folder on the nodes" in inside[0].means
    assert not list(tmp_path.iterdir())
