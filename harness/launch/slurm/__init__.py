"""Runs a graph of stages as Slurm jobs: job arrays, submitted through submitit, with the store as the only truth."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from harness.launch.events import OnEvent, Report, State, ignore
from harness.launch.graph import Graph
from harness.launch.interruption import signals
from harness.launch.slurm import queue, warden
from harness.launch.slurm.queue import Queue
from harness.launch.slurm.resources import Resources
from harness.launch.slurm.runs import WantedRun
from harness.launch.slurm.submission import Submission, Submitter, has_failed
from harness.launch.slurm.supervision import Supervisor
from harness.store import Stage, Store
from harness.store.batches import Batches

__all__ = ["Resources", "Submission", "Wish", "cancel", "retry", "run", "submit"]

Wish = Callable[[Stage], Resources]

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
    wanted = WantedRun(title, list(graph), [wish(stage) for stage in graph], threads, registry)
    submitter = Submitter(store, graph, wanted, on_event)
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
    wanted = WantedRun(title, list(graph), [wish(stage) for stage in graph], threads, registry)
    submitter = Submitter(store, graph, wanted, on_event)
    with signals() as interruption:
        return Supervisor(store, graph, submitter, retries, poll_seconds, on_event).run(interruption)


def cancel(store: Store, stages: Sequence[Stage], title: str = "sweep") -> list[str]:
    """Cancels all jobs of the given stages and returns their ids. What they wrote stays, to be resumed.

    With them goes the warden of the run with this title, which would submit them anew.
    """
    queue.require("squeue", "scancel")
    batches = Batches(store.root)
    run = batches.run_file(title)
    run.unlink(missing_ok=True)  # first: a warden that starts now must find nothing to do
    known = Queue.ask(batches)
    queue.cancel_whole(job.id for job in known.others if job.name == warden.name(run) and job.is_alive)
    jobs = [job.id for stage in stages for job in known.jobs(stage.id) if job.is_alive]
    queue.cancel(jobs)
    return jobs


def retry(store: Store, title: str, stage_ids: Collection[str], more_memory: bool = False) -> Submission:
    """Submits stages of a run anew that failed or got lost, and what waits behind them; others that failed are left.

    ``more_memory``: their jobs ask for half as much again. Raises ``HarnessError`` when no such run was submitted.
    """
    queue.require(*_COMMANDS)
    run = WantedRun.load(Batches(store.root).run_file(title))
    if more_memory:
        raised = [
            wish.with_more_memory() if stage.id in stage_ids else wish
            for stage, wish in zip(run.stages, run.wishes, strict=True)
        ]
        run = replace(run, wishes=raised)
    left: dict[str, State] = {
        stage.id: "failed" for stage in run.stages if stage.id not in stage_ids and has_failed(store, stage)
    }
    return Submitter(store, Graph(run.stages), run).submit(left)
