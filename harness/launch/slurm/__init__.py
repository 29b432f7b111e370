"""Runs a graph of stages as Slurm jobs: job arrays, submitted through submitit, with the store as the only truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.launch.events import OnEvent, Report, ignore
from harness.launch.graph import Graph
from harness.launch.interruption import signals
from harness.launch.slurm import queue
from harness.launch.slurm.queue import Queue
from harness.launch.slurm.resources import Resources
from harness.launch.slurm.submission import Submission, Submitter, Wish
from harness.launch.slurm.supervision import Supervisor
from harness.store import Stage, Store
from harness.store.batches import Batches

__all__ = ["Resources", "Submission", "Wish", "cancel", "run", "submit"]

_COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol")


def submit(
    store: Store,
    stages: Sequence[Stage],
    wish: Wish,
    *,
    title: str = "sweep",
    threads: int = 1,
    on_event: OnEvent = ignore,
    registry: Path | None = None,
) -> Submission:
    """Puts every stage that is neither done nor in the queue into the queue, and returns.

    ``wish`` says what the job of a stage asks for; jobs wait for the jobs of their inputs. Jobs that can never start
    are cancelled and submitted anew. To be repeated at will: only what is missing is submitted, also when two do it at
    once. ``title`` is part of the name that the queue shows; ``threads`` are those of each job's arithmetic. Raises
    ``HarnessError`` when Slurm is missing or refuses.
    """
    queue.require(*_COMMANDS)
    graph = Graph(stages)
    graph.check(store)
    submitter = Submitter(store, graph, wish, title=title, threads=threads, on_event=on_event, registry=registry)
    submission = submitter.submit({}, report_done=True)
    if submission.full is not None and not submission.jobs:
        raise submission.full
    return submission


def run(
    store: Store,
    stages: Sequence[Stage],
    wish: Wish,
    *,
    title: str = "sweep",
    threads: int = 1,
    retries: int = 2,
    poll_seconds: float = 15.0,
    on_event: OnEvent = ignore,
    registry: Path | None = None,
) -> Report:
    """Submits like ``submit`` and waits for the end, replacing jobs that got lost, ``retries`` times a stage.

    A job is lost when ``squeue`` has answered twice that it is gone or ended, and its stage is neither done nor
    recorded as failed. SIGINT and SIGTERM end the waiting, not the jobs. Raises ``HarnessError`` when Slurm refuses, or
    does not answer for an hour.
    """
    queue.require(*_COMMANDS)
    graph = Graph(stages)
    graph.check(store)
    submitter = Submitter(store, graph, wish, title=title, threads=threads, on_event=on_event, registry=registry)
    with signals() as interruption:
        return Supervisor(store, graph, submitter, retries, poll_seconds, on_event).run(interruption)


def cancel(store: Store, stages: Sequence[Stage]) -> list[str]:
    """Cancels all jobs of the given stages and returns their ids. What they wrote stays, to be resumed."""
    queue.require("squeue", "scancel")
    known = Queue.ask(Batches(store.root))
    jobs = [job.id for stage in stages for job in known.jobs(stage.id) if job.is_alive]
    queue.cancel(jobs)
    return jobs
