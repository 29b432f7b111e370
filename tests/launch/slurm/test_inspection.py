from __future__ import annotations

from pathlib import Path

import pytest

from harness.launch.slurm.inspection import Check, _minutes, inspect
from harness.launch.slurm.resources import Resources
from tests.launch.slurm.conftest import Fake

SETTINGS = {
    "SLURM_VERSION": "23.11.4",
    "ClusterName": "fake",
    "AccountingStorageType": "accounting_storage/none",
    "PreemptType": "preempt/none",
    "PreemptMode": "OFF",
    "KillWait": "30 sec",
    "MinJobAge": "300 sec",
    "SelectTypeParameters": "CR_CORE_MEMORY",
    "TaskPlugin": "task/cgroup,task/affinity",
    "ProctrackType": "proctrack/cgroup",
    "ConstrainRAMSpace": "yes",
}

ANY = Resources(time_minutes=60)


def looked_at(
    fake: Fake, wish: Resources = ANY, sinfo: str = "", sbatch: str = "exit 0", **changes: str
) -> dict[str, Check]:
    """What is found on a cluster with other settings."""
    lines = "\n".join(f"{name} = {value}" for name, value in {**SETTINGS, **changes}.items())
    partition = "PartitionName=gpu GraceTime=120 DefMemPerNode=8000 MaxTime=01:00:00"
    fake("scontrol", f"[ $2 = config ] && cat <<'EOF' || echo '{partition}'\n{lines}\nEOF")
    fake("sinfo", f"cat <<'EOF'\n{sinfo or 'gpu*|up|1:00:00|3/1/2/6|64000+|16|gpu:a100:4'}\nEOF")
    fake("sbatch", sbatch)
    for name in ("srun", "squeue", "scancel"):
        fake(name, "exit 1")
    return {check.what: check for check in inspect(wish)}


def test_a_cluster_as_it_should_be(fake: Fake) -> None:
    found = looked_at(fake)
    assert {check.state for check in found.values()} == {"ok"}
    assert found["Slurm"].found == "23.11.4"
    assert "memory_gb is a limit" in found["memory"].means
    assert found["preemption"].found == "none"
    assert found["partition gpu*"].found == (
        "up, 4 nodes up, 2 down or drained, 16 CPUs, 64000+ MB, gpu:a100:4 each, default memory 8000 MB, "
        "GraceTime 120 s, time limit 1:00:00"
    )


@pytest.mark.parametrize(
    ("changes", "what", "state", "words"),
    [
        ({"SLURM_VERSION": "19.05.1"}, "Slurm", "note", "older"),
        ({"PreemptType": "preempt/qos", "PreemptMode": "CANCEL"}, "preemption", "ok", "submitted anew"),
        ({"PreemptType": "preempt/qos", "PreemptMode": "GANG,SUSPEND"}, "preemption", "note", "silent"),
        ({"ConstrainRAMSpace": "no"}, "memory", "ok", "nothing ends a job"),
        ({"ConstrainRAMSpace": "no", "JobAcctGatherParams": "OverMemoryKill"}, "memory", "ok", "is a limit"),
        ({"ConstrainRAMSpace": "no", "SelectTypeParameters": "CR_CPU"}, "memory", "note", "not counted"),
        ({"MinJobAge": "2 sec"}, "MinJobAge", "note", "so soon"),
        ({"RequeueExitHold": "1"}, "RequeueExitHold", "note", "held"),
        ({"JobRequeue": "0"}, "JobRequeue", "note", "ask for it themselves"),
    ],
)
def test_what_a_setting_means(fake: Fake, changes: dict[str, str], what: str, state: str, words: str) -> None:
    check = looked_at(fake, **changes)[what]
    assert check.state == state
    assert words in check.means


@pytest.mark.parametrize(
    ("wish", "sinfo", "what", "state"),
    [
        (Resources(time_minutes=90), "", "partition gpu*", "fails"),
        (Resources(partition="cpu"), "", "partition", "fails"),
        (
            Resources(partition="gpu", time_minutes=60),
            "gpu*|down|1:00:00|3/1/2/6|1|1|(null)",
            "partition gpu*",
            "fails",
        ),
        (Resources(time_minutes=60), "gpu*|up|1:00:00|0/0/6/6|1|1|(null)", "partition gpu*", "note"),
    ],
)
def test_what_jobs_ask_for_is_held_against_their_partition(
    fake: Fake, wish: Resources, sinfo: str, what: str, state: str
) -> None:
    assert looked_at(fake, wish, sinfo)[what].state == state


def test_partitions_of_a_kind_of_stage_are_looked_at_too(fake: Fake) -> None:
    sinfo = "gpu*|up|1:00:00|3/1/2/6|64000+|16|gpu:a100:4\ncpu|up|30:00|1/1/0/2|8000|8|(null)"
    looked_at(fake, sinfo=sinfo)
    stages = {"features": Resources(partition="cpu", time_minutes=60), "evaluate": Resources(partition="no")}
    found = {check.what: check for check in inspect(ANY, stages)}
    assert found["partition gpu*"].state == found["partition cpu"].state == "ok"
    assert found["partition cpu, features"].state == "fails"
    assert "lower time_minutes" in found["partition cpu, features"].means
    assert found["partition, evaluate"].found == "no does not exist"
    assert "partition gpu*, features" not in found


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        ("Invalid account or account/partition combination specified", "fails", "Invalid account"),
        ("QOSMaxSubmitJobPerUserLimit", "note", "takes no more jobs now"),
        ("Unable to contact slurm controller (connect failure)", "note", "did not answer"),
    ],
)
def test_what_slurm_would_not_take(fake: Fake, answer: str, state: str, words: str) -> None:
    check = looked_at(fake, sbatch=f"echo 'allocation failure: {answer}' >&2; exit 1")["what jobs ask for"]
    assert check.state == state
    assert words in check.means


def test_slurm_is_asked_for_all_of_a_wish_and_given_no_job(fake: Fake, tmp_path: Path) -> None:
    wish = Resources("gpu", "us", "fast", 60, 12.5, 6, 2, "a100", exclude=("n7",), options=(("licenses", "x:1"),))
    found = looked_at(fake, wish, sbatch=f'echo "$@" > {tmp_path}/told; cat >> {tmp_path}/told')["what jobs ask for"]
    assert found.found == ("partition gpu, account us, qos fast, memory_gb 12.5, cpus 6, gpus 2 a100, time_minutes 60")
    told = (tmp_path / "told").read_text()
    assert told.startswith("--test-only\n#!/bin/bash")
    asked = {line.removeprefix("#SBATCH --") for line in told.splitlines() if line.startswith("#SBATCH")}
    assert asked >= {
        *("partition=gpu", "account=us", "qos=fast", "time=60", "mem=12800M", "cpus-per-task=6"),
        *("gpus-per-node=a100:2", "exclude=n7", "licenses=x:1", "requeue"),
    }


def test_no_slurm_is_one_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (check,) = inspect(Resources())
    assert (check.state, check.what) == ("fails", "Slurm")
    assert "login node" in check.means


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [("infinite", None), ("30:00", 30), ("1:00:00", 60), ("2-00:00:00", 2880), ("1-12:30:00", 2190), ("45", 45)],
)
def test_time_limits_are_read_as_slurm_writes_them(limit: str, minutes: float | None) -> None:
    assert _minutes(limit) == minutes
