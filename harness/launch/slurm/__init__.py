"""Runs a graph of stages as Slurm jobs: job arrays, submitted through submitit, with the store as the only truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from harness.launch.events import OnEvent, Report, State, ignore
from harness.launch.graph import Graph
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

__all__ = ["Cancellation", "Resources", "Submission", "WantedRun", "cancel", "retry", "run", "submit"]

_COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol")


def submit(store: Store, wanted: WantedRun, *, snapshot: bool = False, on_event: OnEvent = ignore) -> Submission:
    """Puts every stage of a run that is neither done nor in the queue into the queue, and returns.

    Jobs wait for the jobs of their inputs. Jobs that can never start are cancelled and submitted anew. To be repeated
    at will: only what is missing is submitted, also when two do it at once. ``snapshot``: jobs run the code as it is
    now. Raises ``HarnessError`` when Slurm is missing or refuses.
    """
    submission = _submitter(store, wanted, snapshot, on_event).submit({}, report_done=True)
    if submission.full is not None and not submission.jobs:
        raise submission.full
    return submission


def run(
    store: Store,
    wanted: WantedRun,
    *,
    snapshot: bool = False,
    retries: int = 3,
    poll_seconds: float = 15.0,
    on_event: OnEvent = ignore,
) -> Report:
    """Submits like ``submit`` and waits for the end, replacing jobs that got lost.

    A job is lost when ``squeue`` has answered twice that it is gone or ended, and its stage is neither done nor
    recorded as failed. That may happen ``retries`` times to a stage that does not get on between. SIGINT and SIGTERM
    end the waiting, not the jobs. Raises ``HarnessError`` when Slurm refuses, or does not answer for an hour.
    """
    submitter = _submitter(store, wanted, snapshot, on_event)
    with signals() as interruption:
        return Supervisor(store, submitter, retries, poll_seconds, on_event).run(interruption)


def _submitter(store: Store, wanted: WantedRun, snapshot: bool, on_event: OnEvent) -> Submitter:
    queue.require(*_COMMANDS)
    if snapshot:
        with store.exclusive("submission"):  # what is taken here is not being removed
            wanted = replace(wanted, code=take(Batches(store.root).run_file(wanted.title).parent))
    submitter = Submitter(store, wanted, on_event)
    submitter.graph.check(store)
    return submitter


@dataclass(frozen=True)
class Cancellation:
    """The ids of the ``jobs`` that were cancelled, and how many stay that are of ``others``, by the user's name."""

    jobs: list[str]
    others: Counter[str] = field(default_factory=Counter)


def cancel(store: Store, stages: Sequence[Stage], title: str = "sweep") -> Cancellation:
    """Cancels all of this user's jobs of the given stages. What they wrote stays, to be resumed.

    Neither a warden nor a waiting driver of the run with this title takes the stages up again; the warden goes when
    there are no others.
    """
    queue.require("squeue", "scancel")
    batches = Batches(store.root)
    # What is being submitted at this moment would not be found in the queue.
    with store.exclusive("submission"):
        left = WantedRun.cancel(store, title, {stage.id for stage in stages})
        known = Queue.ask(batches)
        if not left:
            name = warden.name(batches.run_file(title))
            queue.cancel_whole(job.id for job in known.others if job.name == name and job.is_alive)
        living = [job for stage in stages for job in known.jobs(stage.id) if job.is_alive]
        own = queue.cancel_own(living)
    return Cancellation(own, Counter(job.user for job in living if job.id not in set(own)))


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
    anew = set(stage_ids)
    for stage in Graph(run.stages).in_dependency_order():
        if not anew.isdisjoint(stage.inputs.values()):
            anew.add(stage.id)
    run = replace(run, cancelled=run.cancelled - anew)
    left: dict[str, State] = {
        stage.id: "failed" for stage in run.stages if stage.id not in stage_ids and has_failed(store, stage)
    }
    return Submitter(store, run).submit(left)
