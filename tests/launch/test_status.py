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
from harness.launch import squeue
from harness.launch.squeue import Job, QueueUnreachable, job_name
from harness.launch.status import SILENT_SECONDS, StageStatus, status
from harness.store import Owner, Stage, Store

Queue = Callable[..., None]


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    """Sets what squeue answers; until then, asking is an error of the test."""

    def answer(*jobs: Job, error: HarnessError | None = None) -> None:
        def jobs_by_name() -> dict[str, list[Job]]:
            if error is not None:
                raise error
            found: dict[str, list[Job]] = {}
            for job in jobs:
                found.setdefault(job.name, []).append(job)
            return found

        monkeypatch.setattr(squeue, "jobs_by_name", jobs_by_name)

    monkeypatch.setattr(squeue, "jobs_by_name", lambda: pytest.fail("asked Slurm"))
    return answer


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
    assert found[failed.id].detail == "ValueError: no"
    assert str(failed) in found[behind.id].detail
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
    assert "damaged" in found.detail


def test_jobs_are_judged_by_the_queue(store: Store, toys: Toys, queue: Queue) -> None:
    stages = [toys.stage(name) for name in "abcd"]
    pending, starting, gone, ended = stages
    for number, stage in enumerate(stages):
        store.submitted(stage, str(number))
    queue(
        Job("0", job_name(store, pending), "PENDING", "Resources", ""),
        Job("1", job_name(store, starting), "RUNNING", "None", "n7"),
        Job("3", job_name(store, ended), "NODE_FAIL", "None", "n7"),
    )
    found = status(store, stages)
    assert [found[stage.id].state for stage in stages] == ["queued", "running", "lost", "lost"]
    assert found[pending.id].detail == "Resources"
    assert found[pending.id].job == "0"
    assert "n7" in found[starting.id].detail
    assert "gone" in found[gone.id].detail
    assert "node fail" in found[ended.id].detail


def test_a_stage_submitted_again_is_judged_by_its_living_job(store: Store, toys: Toys, queue: Queue) -> None:
    stage = toys.stage("a")
    for number in "12":
        store.submitted(stage, number)
    name = job_name(store, stage)
    queue(Job("2", name, "PENDING", "Priority", ""), Job("1", name, "FAILED", "", ""))
    assert of(store, stage).state == "queued"
    queue(Job("2", name, "PENDING", "DependencyNeverSatisfied", ""))
    assert of(store, stage).state == "lost"


def test_without_an_answer_nothing_is_made_up(store: Store, toys: Toys, queue: Queue) -> None:
    stage = toys.stage("a")
    store.submitted(stage, "1")
    for error in (QueueUnreachable("squeue", "Socket timed out"), HarnessError("Slurm's squeue was not found")):
        queue(error=error)
        found = of(store, stage)
        assert found.state == "queued"
        assert error.message in found.detail


@pytest.mark.parametrize(("silent", "state"), [(0.0, "running"), (SILENT_SECONDS * 2, "lost")])
def test_a_holder_elsewhere_counts_while_it_is_heard_of(
    store: Store, toys: Toys, queue: Queue, silent: float, state: str
) -> None:
    stage = toys.stage("a")
    work = store.open(stage)
    owner = replace(Owner.current(), host="elsewhere").to_json()
    folder: Path = store.root / "leases" / stage.id
    (folder / "1.json").write_text(json.dumps(owner))
    (folder / "1.beat").write_text(f"000000000009 {time.time() - silent:016.3f}\n")
    assert of(store, stage).state == state
    assert work.attempt == 1


def test_a_job_elsewhere_is_running_only_if_slurm_says_so(store: Store, toys: Toys, queue: Queue) -> None:
    stage = toys.stage("a")
    work = store.open(stage, job="5")
    folder: Path = store.root / "leases" / stage.id
    (folder / "1.json").write_text(json.dumps(replace(Owner.current("5"), host="elsewhere").to_json()))
    queue(Job("5", job_name(store, stage), "RUNNING", "None", "n1"))
    assert of(store, stage).state == "running"
    queue(Job("5", job_name(store, stage), "PENDING", "BeginTime", ""))  # its node died, it was requeued
    assert of(store, stage).state == "queued"
    assert work.attempt == 1
    assert os.path.exists(folder)
