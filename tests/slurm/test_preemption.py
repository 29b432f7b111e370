"""A job that has to make room, on clusters without and with a warning."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from toy_graphs import Toys, results

from harness.launch import local, slurm
from harness.launch.events import Event
from harness.launch.slurm import Resources
from harness.launch.slurm.queue import Queue
from harness.store import Store
from harness.store.batches import Batches
from tests.slurm.slurm_cluster import Cluster

pytestmark = pytest.mark.slurm


def test_a_preempted_job_resumes_whether_it_was_warned_or_not(
    preempting: Cluster, store: Store, toys: Toys, tmp_path: Path
) -> None:
    stages = toys.chain(1, seconds=0.4, steps=25)
    preempted = []

    def preempt(event: Event) -> None:
        if event.kind == "progress" and event.progress["step"] >= 3 and not preempted:
            preempted.append(event)
            node = Queue.ask(Batches(store.root)).jobs(stages[0].id)[0].nodes
            urgent = ["--partition=urgent", f"--nodelist={node}", "--exclusive", "--output=/dev/null"]
            preempting.command("sbatch", *urgent, "--wrap=sleep 3")

    wanted = toys.wanted(stages, Resources(time_minutes=30, cpus=2))
    report = slurm.run(store, wanted, poll_seconds=0.5, on_event=preempt)
    assert report.complete
    first, second = store.attempts(stages[0])
    assert first.job == second.job, "Slurm started it again"
    assert sum(toys.notes(f"step {number}")[stages[0].id] for number in range(1, 26)) <= 26
    elsewhere = Store(tmp_path / "elsewhere")
    assert local.run(elsewhere, stages, processes=1, registry=toys.registry).complete
    assert results(store, stages) == results(elsewhere, stages)


@pytest.mark.parametrize("obstacle", ["no job is taken back", "no scontrol where Python runs"])
def test_a_job_that_cannot_put_itself_into_the_queue_resumes_after_a_warning(
    strict: Cluster, store: Store, toys: Toys, tmp_path: Path, obstacle: str
) -> None:
    box = tmp_path / "python in a box"
    box.write_text(f'#!/bin/sh\nPATH=/nowhere exec {sys.executable} "$@"\n')
    box.chmod(0o755)
    wishes = {
        "no job is taken back": Resources(time_minutes=30, requeue=False),
        "no scontrol where Python runs": Resources(time_minutes=30, python=(str(box),)),
    }
    stages = toys.chain(2, seconds=0.3, steps=10)
    slurm.submit(store, toys.wanted(stages, wishes[obstacle]))
    strict.wait(lambda: store.progress(stages[0]).get("progress", {}).get("step", 0) >= 3, 60, "progress")
    (begun,) = store.attempts(stages[0])
    strict.command("scancel", "--signal=USR2", begun.job)
    strict.wait(lambda: all(store.is_done(stage) for stage in stages), 120, "finished sweep")
    first, second = store.attempts(stages[0])
    assert (first.state, first.reason, first.retryable) == ("failed", "interrupted (SystemExit)", True)
    assert (first.job == second.job) == wishes[obstacle].requeue
    assert sum(toys.notes(f"step {number}")[stages[0].id] for number in range(1, 11)) <= 11
    assert not list(store.root.glob("batches/*/private/*.crashes"))
