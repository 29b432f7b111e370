"""Runs a graph of stages as Slurm jobs: job arrays, submitted through submitit, with the store as the only truth."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from harness.launch.budget import NO_LIMIT, Budget
from harness.launch.events import OnEvent, Report, State, ignore
from harness.launch.interruption import signals
from harness.launch.slurm import queue, warden
from harness.launch.slurm.queue import Queue
from harness.launch.slurm.resources import Resources
from harness.launch.slurm.runs import WantedRun
from harness.launch.slurm.snapshot import take
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
    snapshot: bool = False,
    budget: Budget = NO_LIMIT,
) -> Submission:
    """Puts every stage that is neither done nor in the queue into the queue, and returns.

    ``wish`` says what the job of a stage asks for; jobs wait for the jobs of their inputs. Jobs that can never start
    are cancelled and submitted anew. To be repeated at will: only what is missing is submitted, also when two do it at
    once. ``title`` is part of the name that the queue shows; ``threads`` are those of each job's arithmetic. Raises
    ``HarnessError`` when Slurm is missing or refuses. ``snapshot``: jobs run the code as it is now.
    ``budget``: what all attempts at these stages may spend together.
    """
    wanted = _wanted(store, stages, wish, title, threads, registry, snapshot, budget)
    submitter = _submitter(store, wanted, on_event)
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
    snapshot: bool = False,
    budget: Budget = NO_LIMIT,
) -> Report:
    """Submits like ``submit`` and waits for the end, replacing jobs that got lost, ``retries`` times a stage.

    A job is lost when ``squeue`` has answered twice that it is gone or ended, and its stage is neither done nor
    recorded as failed. SIGINT and SIGTERM end the waiting, not the jobs. Raises ``HarnessError`` when Slurm refuses, or
    does not answer for an hour.
    """
    wanted = _wanted(store, stages, wish, title, threads, registry, snapshot, budget)
    submitter = _submitter(store, wanted, on_event)
    with signals() as interruption:
        return Supervisor(store, submitter, retries, poll_seconds, on_event).run(interruption)


def _wanted(
    store: Store,
    stages: Sequence[Stage],
    wish: Wish,
    title: str,
    threads: int,
    registry: Path | None,
    snapshot: bool,
    budget: Budget,
) -> WantedRun:
    queue.require(*_COMMANDS)
    code = take(Batches(store.root).run_file(title).parent) if snapshot else None
    return WantedRun(title, stages, [wish(stage) for stage in stages], threads, registry, code, budget)


def _submitter(store: Store, wanted: WantedRun, on_event: OnEvent) -> Submitter:
    submitter = Submitter(store, wanted, on_event)
    submitter.graph.check(store)
    return submitter


def cancel(store: Store, stages: Sequence[Stage], title: str = "sweep") -> list[str]:
    """Cancels all jobs of the given stages and returns their ids. What they wrote stays, to be resumed.

    The warden of the run with this title looks after the other stages of it only; it goes when there are none.
    """
    queue.require("squeue", "scancel")
    batches = Batches(store.root)
    # First: a warden that starts now must not submit them anew.
    others = WantedRun.forget(store, title, {stage.id for stage in stages})
    known = Queue.ask(batches)
    if not others:
        name = warden.name(batches.run_file(title))
        queue.cancel_whole(job.id for job in known.others if job.name == name and job.is_alive)
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
    return Submitter(store, run).submit(left)
