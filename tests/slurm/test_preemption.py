"""A job that has to make room, on clusters without and with a warning."""

from __future__ import annotations

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
