"""How jobs ended that the queue has forgotten, on clusters without and with accounting."""

from __future__ import annotations

import os
import re

import pytest
from toy_graphs import Toys

from harness.launch import slurm
from harness.launch.slurm import Resources, endings
from harness.launch.slurm import queue as slurm_queue
from harness.launch.status import status
from harness.store import Store
from tests.slurm.slurm_cluster import Cluster

pytestmark = pytest.mark.slurm


@pytest.fixture(autouse=True)
def patience() -> None:
    endings._Silence.until = 0.0


def test_the_end_of_a_forgotten_job_is_told(
    either: Cluster, store: Store, toys: Toys, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    broken, long = toys.stage("broken"), toys.stage("long", seconds=0.5, steps=100)
    wishes = [Resources(time_minutes=5, setup=("exit 7",)), Resources(time_minutes=5)]
    submitted = slurm.submit(store, toys.wanted([broken, long], wishes)).submitted
    either.wait(lambda: store.progress(long).get("progress", {}).get("step", 0) >= 1, 30, "progress")
    slurm.cancel(store, [long])
    either.wait(lambda: not either.command("squeue", "--noheader").stdout.strip(), 30, "empty queue")

    def told() -> list[str]:
        return [each.reason for each in status(store, [broken, long]).values()]

    assert re.fullmatch(rf"job {submitted[broken.id]} failed on n\d \(NonZeroExitCode\)", told()[0])
    monkeypatch.setattr(slurm_queue, "_jobs", lambda users: [])
    if either.has_accounting:
        either.wait(lambda: "exit code 7" in told()[0], 30, "an answer of sacct")
        assert re.fullmatch(rf"job {submitted[broken.id]} failed on n\d \(exit code 7\)", told()[0])
        assert re.fullmatch(rf"job {submitted[long.id]} cancelled on n\d \(by user {os.getuid()}\)", told()[1])
    else:
        assert told()[0] == f"job {submitted[broken.id]} is gone from the queue"
        assert re.fullmatch(rf"job {submitted[long.id]} cancelled on n\d \(by its log\)", told()[1])


def test_accounting_that_dies_is_not_missed(accounted: Cluster, store: Store, toys: Toys) -> None:
    stages = toys.chain(2, seconds=0.2, steps=5)
    accounted.kill("slurmdbd")
    try:
        report = slurm.run(store, toys.wanted(stages, Resources(time_minutes=5)), poll_seconds=0.5)
        assert report.complete
    finally:
        accounted.start_database_daemon()
