"""Clusters and folders that refuse, vanish, or tell another time: one clear message each, and nothing lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toy_graphs import Toys, results

from harness.errors import HarnessError
from harness.launch import local, slurm
from harness.launch.events import Event
from harness.launch.slurm import Resources
from harness.launch.slurm.queue import Queue
from harness.launch.slurm.warden import name
from harness.store import Store
from harness.store.batches import Batches
from tests.slurm import accounting
from tests.slurm.slurm_cluster import Cluster

pytestmark = pytest.mark.slurm

MODEST = Resources(time_minutes=5, cpus=1)


def run(
    store: Store, toys: Toys, stages: list, wish: Resources = MODEST, on_event: Callable[[Event], None] = lambda _: None
):
    return slurm.run(store, toys.wanted(stages, wish), poll_seconds=0.5, on_event=on_event)


def expected(tmp_path: Path, toys: Toys, stages: list) -> dict:
    other = Store(tmp_path / "elsewhere")
    journal = toys.journal.read_text()
    assert local.run(other, stages, processes=1, registry=toys.registry).complete
    toys.journal.write_text(journal)
    return results(other, stages)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Resources(account="nobody"), "account"),
        (Resources(qos="golden"), "qos"),
        (Resources(partition="nonsense"), "partition"),
    ],
)
def test_what_the_cluster_does_not_know_is_one_clear_error(
    accounted: Cluster, store: Store, toys: Toys, wish: Resources, words: str
) -> None:
    with pytest.raises(HarnessError, match=f"(?i)invalid {words}") as caught:
        slurm.submit(store, toys.wanted(toys.chain(2), wish))
    assert "`cluster` section" in caught.value.remedy
    assert not list(Batches(store.root))


def test_a_limit_of_jobs_lets_a_sweep_through_in_parts(accounted: Cluster, store: Store, toys: Toys) -> None:
    stages = [toys.stage(f"stage{number}") for number in range(2 * accounting.LIMITED_JOBS + 1)]
    wish = Resources(time_minutes=5, cpus=1, qos=accounting.LIMITED)
    submission = slurm.submit(store, toys.wanted(stages, wish))
    assert submission.full is not None
    assert "QOSMaxSubmit" in submission.full.message
    assert 0 < len(submission.submitted) <= accounting.LIMITED_JOBS
    assert run(store, toys, stages, wish).complete
    assert set(toys.notes("start").values()) == {1}


def test_a_warden_keeps_its_place_in_a_queue_that_is_full(accounted: Cluster, store: Store, toys: Toys) -> None:
    """Another sweep of the user has taken all places when the warden looks, and nobody else waits."""
    (stage,) = toys.chain(1, seconds=0.5, steps=30)
    wish = Resources(time_minutes=5, cpus=1, qos=accounting.LIMITED)
    (job,) = slurm.submit(store, toys.wanted([stage], wish)).submitted.values()
    record = Batches(store.root).run_file("sweep")
    known = Queue.ask(Batches(store.root)).others
    (warden,) = [each.id for each in known if each.name == name(record) and each.is_alive]
    accounted.command("scontrol", "hold", warden)
    accounted.wait(lambda: bool(store.progress(stage)), 30, "progress")
    accounted.command("scancel", job)
    accounted.wait(lambda: f"{job} " not in accounted.command("squeue", "--array", "-h", "-o%i ").stdout, 30, "the end")
    others = [f"--qos={accounting.LIMITED}", f"--array=1-{accounting.LIMITED_JOBS - 1}", "--output=/dev/null"]
    others = accounted.command("sbatch", "--parsable", "--hold", *others, "--wrap=true").stdout.strip()
    accounted.command("scontrol", "release", warden)
    log = record.with_suffix(".log")
    accounted.wait(lambda: log.exists() and "takes no more jobs" in log.read_text(), 60, "look of the warden")
    accounted.command("scancel", others)
    accounted.wait(lambda: store.is_done(stage), 120, "finished sweep")
    assert len(store.attempts(stage)) == 2


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "harness-test", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("nothing may be mounted here")
    yield folder
    while os.path.ismount(folder):
        subprocess.run(["umount", "-l", str(folder)], check=True)


def make_read_only(disk: Path) -> None:
    """For all that is opened from now on."""
    subprocess.run(["mount", "--bind", str(disk), str(disk)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(disk)], check=True)


def make_writable(disk: Path) -> None:
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_folder_that_cannot_be_written_is_one_clear_error(cluster: Cluster, disk: Path, toys: Toys) -> None:
    make_read_only(disk)
    with pytest.raises(HarnessError, match="cannot be written: Read-only file system"):
        slurm.submit(Store(disk / "store"), toys.wanted(toys.chain(1), MODEST))
    assert not cluster.command("squeue", "--noheader").stdout.strip()


def test_a_folder_that_becomes_read_only_loses_nothing(
    cluster: Cluster, disk: Path, toys: Toys, tmp_path: Path
) -> None:
    store = Store(disk / "store")
    stages = toys.chain(2, seconds=0.3, steps=12)

    frozen = []

    def freeze(event: Event) -> None:
        if event.kind == "progress" and event.progress["step"] >= 3 and not frozen:
            frozen.append(event)
            make_read_only(disk)

    with pytest.raises(HarnessError, match="cannot be written: Read-only file system"):
        run(store, toys, stages, on_event=freeze)
    make_writable(disk)
    cluster.idle()
    assert run(store, toys, stages).complete
    assert results(store, stages) == expected(tmp_path, toys, stages)
    assert sum(toys.notes(f"step {number}")[stages[0].id] for number in range(1, 13)) <= 13


def test_a_folder_that_vanishes_is_said_and_nothing_is_lost(
    cluster: Cluster, store: Store, toys: Toys, tmp_path: Path
) -> None:
    stages = toys.chain(2, seconds=0.3, steps=12)
    away = tmp_path / "away"

    def unmount(event: Event) -> None:
        if event.kind == "progress" and event.progress["step"] >= 3:
            os.rename(store.root, away)

    with pytest.raises(HarnessError, match="has vanished") as caught:
        run(store, toys, stages, on_event=unmount)
    assert "when it is back" in caught.value.remedy
    cluster.command("scancel", "--user=root", check=False)
    cluster.idle()
    left = [path for path in store.root.rglob("*") if path.is_file()] if store.root.exists() else []
    assert not [path for path in left if path.name in ("done.json", "stage.json")], "a second store was begun"
    subprocess.run(["rm", "-rf", str(store.root)], check=True)
    os.rename(away, store.root)
    again = Store(store.root, store.terms)
    assert run(again, toys, stages).complete
    assert results(again, stages) == expected(tmp_path, toys, stages)
    assert sum(toys.notes(f"step {number}")[stages[0].id] for number in range(1, 13)) <= 14


def test_clocks_that_differ_by_hours_decide_nothing(
    cluster: Cluster, store: Store, toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each node has its own time; a worker is killed, and the next one is on a node that lives in the past."""
    shifts = tmp_path / "shifts"
    shifts.mkdir()
    (shifts / "sitecustomize.py").write_text(
        "import os, time\n"
        "hours = {'n1': 5, 'n2': -5, 'n3': 9, 'n4': -9}.get(os.environ.get('SLURMD_NODENAME'), 0)\n"
        "real = time.time\n"
        "time.time = lambda: real() + 3600 * hours\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(shifts), os.environ["PYTHONPATH"]]))
    stages = toys.chain(2, seconds=0.3, steps=10)
    killed = []

    def kill(event: Event) -> None:
        if event.kind == "progress" and event.stage == stages[0] and event.progress["step"] >= 3 and not killed:
            attempt = store.attempts(stages[0])[-1]
            killed.append(attempt)
            node = Queue.ask(Batches(store.root)).jobs(stages[0].id)[0].nodes
            cluster.command("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
            os.kill(attempt.owner["pid"], 9)

    assert run(store, toys, stages, on_event=kill).complete
    assert killed
    assert results(store, stages) == expected(tmp_path, toys, stages)
    assert toys.notes("start") == {stages[0].id: 2, stages[1].id: 1}
    assert sum(toys.notes(f"step {number}")[stages[0].id] for number in range(1, 11)) <= 11
