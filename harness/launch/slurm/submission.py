"""Puts the stages of a run that are missing into Slurm's queue: as few arrays as possible, none of them twice."""

from __future__ import annotations

import contextlib
import getpass
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HarnessError
from harness.launch.events import Event, OnEvent, State, ignore
from harness.launch.graph import Graph
from harness.launch.slurm import queue
from harness.launch.slurm.arrays import Array, Place, arrange
from harness.launch.slurm.queue import Queue, QueueUnreachable
from harness.launch.slurm.resources import Resources
from harness.launch.slurm.sbatch import QueueFull, sbatch
from harness.launch.slurm.settings import largest_array
from harness.store import Stage, Store
from harness.store.batches import Batch, Batches

SUBMIT_TRIES = 5
RETRY_SECONDS = 1.0  # doubled from try to try
Wish = Callable[[Stage], Resources]


@dataclass
class Submission:
    """What a submission did: job ids by stage id of new jobs, of jobs that were in the queue already, the stages that
    are done, and those that cannot run (with the reason). ``full`` is Slurm's word when it took only a part.
    """

    submitted: dict[str, str] = field(default_factory=dict)
    alive: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    blocked: dict[str, str] = field(default_factory=dict)
    full: QueueFull | None = None

    @property
    def jobs(self) -> dict[str, str]:
        """Job ids by stage id of all that is in the queue."""
        return {**self.alive, **self.submitted}


class Submitter:
    """Submits one run's stages, to be asked again and again. ``title`` is how people find it in the queue."""

    def __init__(
        self,
        store: Store,
        graph: Graph,
        wish: Wish,
        *,
        title: str = "sweep",
        threads: int = 1,
        on_event: OnEvent = ignore,
        registry: Path | None = None,
    ) -> None:
        self.batches = Batches(store.root)
        self._store = store
        self._graph = graph
        self._wish = wish
        self._title = title
        self._threads = threads
        self._tell = on_event
        self._registry = registry

    def submit(self, ended: Mapping[str, State], report_done: bool = False) -> Submission:
        """Submits what is missing, except stages that have ``ended`` for this run, and those behind them."""
        submission = Submission()
        # Two drivers at once would each miss the jobs that the other is submitting.
        with self._store.exclusive("submission"):
            known = Queue.ask(self.batches)
            self._adopt(known)
            stuck = [job.id for stage in self._graph for job in known.jobs(stage.id) if job.is_stuck]
            queue.cancel(stuck)
            missing = []
            for stage in self._graph.in_dependency_order():
                record = self._store.record(stage)
                if record is not None:
                    submission.done.append(stage.id)
                    if report_done:
                        self._tell(Event("reused", stage, outcome=record.outcome))
                    continue
                reason = self._obstacle(stage, submission, ended)
                job = known.living(stage.id)
                if stage.id in ended or reason:
                    submission.blocked[stage.id] = reason
                elif job is not None:
                    submission.alive[stage.id] = job.id
                else:
                    missing.append(stage)
            self._submit_all(missing, submission)
        return submission

    def _adopt(self, known: Queue) -> None:
        """Completes submissions that were cut off before their answer was written down."""
        for batch in list(self.batches):
            jobs = known.arrays.get(batch.key, ())
            if not batch.job and jobs:
                batch = self.batches.accepted(batch, jobs[0])
            elif not batch.job and batch.user == getpass.getuser():
                self.batches.discard(batch)  # Slurm has never had it
            # The answer to the first try was lost, and so the second one was one too many.
            twice = [job.id for each in known.by_stage.values() for job in each if job.array in jobs[1:]]
            queue.cancel(job for job in twice if not job.startswith(f"{batch.job}_"))

    def _obstacle(self, stage: Stage, submission: Submission, ended: Mapping[str, State]) -> str:
        for role, stage_id in stage.inputs.items():
            name = self._graph.stages.get(stage_id, stage_id)
            record = self._store.record(stage_id)
            if record is not None and record.outcome == "diverged":
                return f"its {role}, {name}, has diverged"
            if record is None and (stage_id in submission.blocked or stage_id in ended):
                return f"its {role}, {name}, has failed or is blocked"
        return ""

    def _submit_all(self, missing: list[Stage], submission: Submission) -> None:
        places = {stage_id: place(job) for stage_id, job in submission.alive.items()}
        taken: dict[int, tuple[str, set[int]]] = {}  # job and task numbers, by position
        for position, array in enumerate(arrange(missing, places, self._wish, largest_array())):
            tasks = dict(array.tasks)
            conditions = []
            for after in array.after:
                job, numbers = (
                    (after.source, None) if isinstance(after.source, str) else taken.get(after.source, ("", set()))
                )
                if numbers is not None:  # less what waits for a task that Slurm did not take
                    tasks = {
                        n: stage
                        for n, stage in tasks.items()
                        if (n if after.number is None else after.number) in numbers
                    }
                conditions.append(after.words(job))
            while tasks:
                try:
                    job = self._submit_array(Array(array.wish, tasks), ",".join(conditions))
                    break
                except QueueFull as full:
                    submission.full = full
                    tasks = dict(list(tasks.items())[: len(tasks) // 2])
            if submission.full and not taken and not tasks:
                return
            taken[position] = (job if tasks else "", set(tasks))
            for number, stage in tasks.items():
                submission.submitted[stage.id] = f"{job}_{number}"
                self._tell(Event("submitted", stage, job=submission.submitted[stage.id]))

    def _submit_array(self, array: Array, dependency: str) -> str:
        wish = array.wish
        assert isinstance(wish, Resources)
        batch = self.batches.add(array.tasks, wish.to_json())
        try:
            job = self._sbatch_patiently(batch, wish, dependency)
        except QueueUnreachable:
            raise  # it may be in the queue, and need what lies there
        except HarnessError:
            self.batches.discard(batch)
            raise
        self.batches.accepted(batch, job)
        return job

    def _sbatch_patiently(self, batch: Batch, wish: Resources, dependency: str) -> str:
        """Submits in spite of a controller that does not answer now and then."""
        for tries in range(1, SUBMIT_TRIES + 1):
            try:
                return sbatch(batch, self._title, wish, self._threads, dependency, self._registry)
            except QueueUnreachable:
                if tries == SUBMIT_TRIES:
                    raise
            time.sleep(RETRY_SECONDS * 2.0**tries)
            # A controller that timed out may have taken the job all the same.
            with contextlib.suppress(QueueUnreachable):
                taken = Queue.ask(self.batches).arrays.get(batch.key, ())
                if taken:
                    return taken[0]
        raise AssertionError("unreachable")


def place(job: str) -> Place:
    """The place of a task in the queue."""
    array, _, number = job.partition("_")
    return Place(array, int(number))
