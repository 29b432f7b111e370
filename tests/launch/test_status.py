from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from toy_graphs import Toys

from harness.errors import HarnessError
from harness.launch.slurm import queue as slurm_queue
from harness.launch.slurm.queue import Job, QueueUnreachable, array_name
from harness.launch.status import StageStatus, look, status
from harness.store import Owner, Stage, Store, Terms
from harness.store.batches import Batch, Batches
from harness.store.lease import Watch

Queue = Callable[..., None]


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    """Sets what squeue answers; until then, asking is an error of the test."""

    def answer(*jobs: Job, error: HarnessError | None = None) -> None:
        def ask(users: object) -> list[Job]:
            if error is not None:
                raise error
            return list(jobs)

        monkeypatch.setattr(slurm_queue, "_jobs", ask)

    monkeypatch.setattr(slurm_queue, "_jobs", lambda users: pytest.fail("asked Slurm"))
    return answer


def given(store: Store, stage: Stage, job: str) -> Batch:
    """A batch of one stage that Slurm has taken as an array."""
    batches = Batches(store.root)
    return batches.accepted(batches.add({0: stage}, {}), job)


def job(batch: Batch, state: str, reason: str = "None", nodes: str = "") -> Job:
    """The entry of a batch's only task."""
    return Job(f"{batch.job}_0", array_name("toys", batch), state, reason, nodes)


def of(store: Store, stage: Stage) -> StageStatus:
    return status(store, [stage])[stage.id]


def test_local_stages_are_judged_without_slurm(store: Store, toys: Toys, queue: Queue) -> None:
    done, diverged, running, failed, waiting = (toys.stage(name) for name in "abcde")
    behind = toys.stage("behind", inputs={"x": failed})
    far = toys.stage("far", inputs={"x": behind})
    store.open(done).finish()
    store.open(diverged).finish("diverged")
    store.open(running).report(step=3)
    with pytest.raises(ValueError, match="no"), store.open(failed):
        raise ValueError("no")
    stages = [far, done, diverged, running, failed, waiting, behind]
    found = status(store, stages)
    assert list(found) == [stage.id for stage in stages]
    states = [one.state for one in found.values()]
    assert states == ["blocked", "done", "diverged", "running", "failed", "waiting", "blocked"]
    assert found[running.id].progress == {"step": 3}
    assert found[failed.id].reason == "ValueError: no"
    assert str(failed) in found[behind.id].reason
    assert json.loads(json.dumps(found[running.id].to_json()))["state"] == "running"


def test_asking_changes_nothing(store: Store, toys: Toys, queue: Queue) -> None:
    status(store, toys.fan(2))
    assert not store.root.exists()


def test_a_dead_process_is_lost_and_an_interrupted_one_waits(store: Store, toys: Toys, queue: Queue) -> None:
    stage = toys.stage("a")
    work = store.open(stage)
    path = store.path(stage) / "attempts" / "1.json"
    lease = store.root / "leases" / stage.id / "1.json"
    owner = {**Owner.current().to_json(), "start": 1}
    path.write_text(json.dumps({**json.loads(path.read_text()), "owner": owner}))
    lease.write_text(json.dumps(owner))
    assert of(store, stage).state == "lost"
    store.end_attempt(stage, 1, "killed", "interrupted")
    assert of(store, stage).state == "waiting"
    assert work.attempt == 1


def test_damage_is_a_failure_with_a_remedy(store: Store, toys: Toys, queue: Queue) -> None:
    stage = toys.stage("a")
    store.open(stage).finish()
    (store.path(stage) / "done.json").write_text("{")
    found = of(store, stage)
    assert found.state == "failed"
    assert "damaged" in found.reason


def test_jobs_are_judged_by_the_queue(store: Store, toys: Toys, queue: Queue) -> None:
    stages = [toys.stage(name) for name in "abcd"]
    behind = toys.stage("behind", inputs={"x": stages[3]})
    pending, starting, gone, ended, _ = (given(store, stage, str(n)) for n, stage in enumerate([*stages, behind]))
    queue(job(pending, "PENDING", "Resources"), job(starting, "RUNNING", nodes="n7"), job(ended, "NODE_FAIL"))
    found = list(status(store, [*stages, behind]).values())
    assert [one.state for one in found] == ["queued", "running", "lost", "lost", "waiting"]
    assert found[0].reason == "Resources"
    assert found[0].job == "0_0"
    assert found[1].node == "n7"
    assert f"job {gone.job}_0 is gone" in found[2].reason
    assert "node fail" in found[3].reason


def test_a_stage_submitted_again_is_judged_by_its_living_job(store: Store, toys: Toys, queue: Queue) -> None:
    stage = toys.stage("a")
    first, second = given(store, stage, "1"), given(store, stage, "2")
    queue(job(second, "PENDING", "Priority"), job(first, "FAILED"))
    assert of(store, stage).state == "queued"
    queue(job(second, "PENDING", "DependencyNeverSatisfied"))
    assert of(store, stage).state == "lost"


def test_without_an_answer_nothing_is_made_up(store: Store, toys: Toys, queue: Queue) -> None:
    stage = toys.stage("a")
    given(store, stage, "1")
    for error in (QueueUnreachable("squeue", "Socket timed out"), HarnessError("Slurm's squeue was not found")):
        queue(error=error)
        found = of(store, stage)
        assert found.state == "queued"
        assert error.message in found.reason


def elsewhere(store: Store, stage: Stage, job: str = "") -> Path:
    """A stage that another machine works on; returns the file of its heartbeat."""
    store.open(stage, job=job)
    folder = store.root / "leases" / stage.id
    (folder / "1.json").write_text(json.dumps(replace(Owner.current(job), host="elsewhere").to_json()))
    return folder / "1.beat"


@pytest.mark.parametrize("times", [0, 1, 2])
def test_of_a_holder_elsewhere_one_look_knows_nothing(store: Store, toys: Toys, queue: Queue, times: int) -> None:
    """Whatever time it is there."""
    stage = toys.stage("a")
    beat = elsewhere(store, stage)
    beat.write_text(f"000000000009 {times * time.time():016.3f}\n")
    found = of(store, stage)
    assert (found.state, found.node) == ("unknown", "elsewhere")
    assert "--watch" in found.reason


def test_watched_it_is_known_to_run_or_to_be_lost(tmp_path: Path, toys: Toys, queue: Queue) -> None:
    store = Store(tmp_path / "store", Terms(interval=60.0, patience=0.2))
    stages = [toys.stage("a"), toys.stage("b")]
    beats = [elsewhere(store, stage) for stage in stages]
    watches: dict[str, Watch] = {}

    def states() -> list[str]:
        return [each.state for each in look(store, stages, watches=watches).stages.values()]

    for beat in beats:
        beat.write_text(f"{1:012d} {0:016.3f}\n")
    assert states() == ["unknown", "unknown"]
    beats[0].write_text(f"{2:012d} {0:016.3f}\n")
    assert states() == ["running", "unknown"]
    time.sleep(0.3)
    beats[0].write_text(f"{3:012d} {0:016.3f}\n")
    assert states() == ["running", "lost"]
    time.sleep(0.3)
    assert states() == ["lost", "lost"]


def test_a_job_elsewhere_that_is_gone_from_the_queue_is_lost(store: Store, toys: Toys, queue: Queue) -> None:
    own, other = toys.stage("own"), toys.stage("other")
    given(store, own, "5")
    batch = replace(given(store, other, "6"), user="somebody")  # whose jobs some clusters do not tell
    Batches(store.root).accepted(batch, "6")
    elsewhere(store, own, "5_0")
    elsewhere(store, other, "6_0")
    queue()
    assert [each.state for each in status(store, [own, other]).values()] == ["lost", "unknown"]


def test_what_sbatch_has_not_answered_for_is_being_submitted(store: Store, toys: Toys, queue: Queue) -> None:
    stage = toys.stage("a")
    batch = Batches(store.root).add({0: stage}, {})
    queue()
    found = of(store, stage)
    assert (found.state, found.reason, found.job) == ("waiting", "being submitted", "")
    queue(Job("7_0", array_name("toys", batch), "PENDING", "Priority", ""))
    assert of(store, stage).state == "queued", "its answer was lost"


def test_a_job_elsewhere_is_running_only_if_slurm_says_so(store: Store, toys: Toys, queue: Queue) -> None:
    stage = toys.stage("a")
    batch = given(store, stage, "5")
    work = store.open(stage, job="5_0")
    folder: Path = store.root / "leases" / stage.id
    (folder / "1.json").write_text(json.dumps(replace(Owner.current("5_0"), host="elsewhere").to_json()))
    queue(job(batch, "RUNNING", nodes="n1"))
    assert of(store, stage).state == "running"
    queue(job(batch, "PENDING", "BeginTime"))  # its node died, it was requeued
    assert of(store, stage).state == "queued"
    assert work.attempt == 1
    assert os.path.exists(folder)
