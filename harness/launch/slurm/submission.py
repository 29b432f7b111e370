"""Puts the stages of a run that are missing into Slurm's queue: as few arrays as possible, none of them twice."""

from __future__ import annotations

import contextlib
import getpass
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import HarnessError
from harness.launch.events import Event, OnEvent, State, ignore
from harness.launch.graph import Graph
from harness.launch.slurm import nodes, queue, warden
from harness.launch.slurm.arrays import Array, Place, arrange
from harness.launch.slurm.endings import recall
from harness.launch.slurm.queue import Queue, QueueUnreachable
from harness.launch.slurm.resources import Resources
from harness.launch.slurm.runs import WantedRun
from harness.launch.slurm.sbatch import QueueFull, ran_out_of_memory, refusal, sbatch
from harness.launch.slurm.settings import largest_array
from harness.launch.slurm.snapshot import FOLDER
from harness.store import Stage, Store
from harness.store.attempts import FAILED
from harness.store.batches import Batch, Batches

SUBMIT_TRIES = 5
RETRY_SECONDS = 1.0  # doubled from try to try
SECOND_LOOK_SECONDS = 3.0
CANCELLED = "cancelled; `harness run` takes it up again"


@dataclass
class Submission:
    """What a submission did: job ids by stage id of new jobs, of jobs that were in the queue already, the stages that
    are done, and those that cannot run (with the reason). ``full`` is Slurm's word when it took only a part,
    ``unwatched`` when it took no warden: then what gets lost is submitted anew by the next ``harness run``. ``avoided``
    are the nodes that new jobs stay away from, with the reason.
    """

    submitted: dict[str, str] = field(default_factory=dict)
    alive: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    blocked: dict[str, str] = field(default_factory=dict)
    full: QueueFull | None = None
    unwatched: str = ""
    avoided: dict[str, str] = field(default_factory=dict)

    @property
    def jobs(self) -> dict[str, str]:
        """Job ids by stage id of all that is in the queue."""
        return {**self.alive, **self.submitted}

    @property
    def is_left_alone(self) -> bool:
        """Whether something is missing that no warden will look after."""
        return bool(self.unwatched) or (self.full is not None and not self.jobs)


class Submitter:
    """Submits one run's stages, to be asked again and again.

    The first time writes down what is wanted; afterwards, and where that is ``recorded`` already, stages that the
    record says are cancelled by now are left alone.
    """

    def __init__(self, store: Store, run: WantedRun, on_event: OnEvent = ignore, recorded: bool = False) -> None:
        self.batches = Batches(store.root)
        self.graph = Graph(run.stages)
        self._store = store
        self._run = run
        self._recorded = recorded
        self._record = self.batches.run_file(run.title)
        self._wishes = {stage.id: wish for stage, wish in zip(run.stages, run.wishes, strict=True)}
        self._tell = on_event
        self._ledger = run.ledger(store)

    def submit(self, ended: Mapping[str, State], report_done: bool = False, leaving: str = "") -> Submission:
        """Submits what is missing, except stages that have ``ended`` for this run, and those behind them.

        ``leaving`` is the id of a job that is about to end without having done its work.
        """
        submission = Submission()
        # Two drivers at once would each miss the jobs that the other is submitting.
        with self._store.exclusive("submission"):
            if not self._recorded:
                self._run.save(self._store)
                self._recorded = True
            cancelled = self.cancelled()
            known = self._look()
            self._adopt(known)
            useless = [job for stage in self.graph for job in known.jobs(stage.id) if job.is_stuck]
            missing: dict[str, Stage] = {}
            overdrawn = self._ledger.obstacle()
            for stage in self.graph.in_dependency_order():
                record = self._store.record(stage)
                if record is not None:
                    submission.done.append(stage.id)
                    if report_done:
                        self._tell(Event("reused", stage, outcome=record.outcome))
                    continue
                if stage.id in cancelled:
                    submission.blocked[stage.id] = CANCELLED
                    continue
                job = known.living(stage.id)
                reason = self._obstacle(stage, submission, ended)
                if overdrawn and not reason and (job is None or job.state == "PENDING"):
                    reason = overdrawn
                    useless += [job] if job else []
                if stage.id in ended or reason:
                    submission.blocked[stage.id] = reason
                elif job is None or job.id == leaving:
                    missing[stage.id] = stage
                elif job.state == "PENDING" and any(stage_id in missing for stage_id in stage.inputs.values()):
                    useless.append(job)  # it waits for a job that has died
                    missing[stage.id] = stage
                else:
                    submission.alive[stage.id] = job.id
            queue.cancel_own(useless)
            affordable = self._affordable(list(missing.values()), submission)
            self._submit_all(affordable, known, submission)
            watched = warden.waits_for(self._record, known.others)
            if submission.submitted or (submission.alive and not watched):
                self._post_warden(known, submission, watched)
        return submission

    def cancelled(self) -> frozenset[str]:
        """The ids of stages that somebody has cancelled since this run was written down."""
        return WantedRun.cancelled_in(self._record)

    def _post_warden(self, known: Queue, submission: Submission, watched: bool) -> None:
        """Submits a warden. ``watched``: an earlier one waits, which will do where Slurm does not take this one."""
        for tries in range(1, SUBMIT_TRIES + 1):
            try:
                warden.post(self._run, self._record, submission.jobs.values(), known, submission.avoided)
                return
            except HarnessError as error:  # the jobs are there all the same
                full = refusal(error.answer) if isinstance(error, QueueUnreachable) else error
                if watched or tries == SUBMIT_TRIES or not isinstance(full, QueueFull):
                    submission.unwatched = "" if watched else error.message
                    return
                if submission.full is None:
                    submission.full = full
                if tries == 1 and len(submission.submitted) > 1:  # the last: no other one waits for it
                    queue.cancel([submission.submitted.popitem()[1]])
            time.sleep(RETRY_SECONDS)

    def _affordable(self, missing: list[Stage], submission: Submission) -> list[Stage]:
        """As many as the budget has jobs for, those first that others need."""
        left = self._ledger.jobs_left()
        for stage in missing[left:] if left is not None else ():
            submission.blocked[stage.id] = f"the budget is spent: {self._run.budget.jobs} jobs"
        return missing[:left]

    def _look(self) -> Queue:
        """The queue; asked again where jobs have ended whose stages are not done.

        A job that Slurm is about to put into the queue again, from a lost node say, shows as ended for a moment.
        """
        known = Queue.ask(self.batches)
        ended = (stage for stage in self.graph if known.jobs(stage.id) and known.living(stage.id) is None)
        if any(not self._store.is_done(stage) for stage in ended):
            time.sleep(SECOND_LOOK_SECONDS)
            known = Queue.ask(self.batches)
        return known

    def _adopt(self, known: Queue) -> None:
        """Completes submissions that were cut off before their answer was written down."""
        for batch in list(self.batches):
            jobs = known.arrays.get(batch.key, ())
            if not batch.job and jobs:
                batch = self.batches.accepted(batch, jobs[0])
            elif not batch.job and batch.user == getpass.getuser():
                self.batches.discard(batch)  # Slurm has never had it
            # The answer to the first try was lost, and so the second one was one too many.
            if batch.user == getpass.getuser():
                queue.cancel_whole(job for job in jobs if job != batch.job)

    def _obstacle(self, stage: Stage, submission: Submission, ended: Mapping[str, State]) -> str:
        for role, stage_id in stage.inputs.items():
            name = self.graph.stages.get(stage_id, stage_id)
            record = self._store.record(stage_id)
            if record is not None and record.outcome == "diverged":
                return f"its {role}, {name}, has diverged"
            if record is None and (stage_id in submission.blocked or stage_id in ended):
                return f"its {role}, {name}, has failed or is blocked"
        return ""

    def _submit_all(self, missing: list[Stage], known: Queue, submission: Submission) -> None:
        places = {stage_id: place(job) for stage_id, job in submission.alive.items()}
        given = self.batches.jobs()
        known = recall(known, self.batches, {stage.id for stage in missing})
        wishes = {stage.id: self._wish(stage, given.get(stage.id, ()), known) for stage in missing}
        self._avoid(known, wishes, submission)
        taken: dict[int, tuple[str, set[int]]] = {}  # job and task numbers, by position
        for position, array in enumerate(arrange(missing, places, lambda stage: wishes[stage.id], largest_array())):
            tasks = dict(array.tasks)
            conditions = []
            for after in array.after:
                if isinstance(after.source, str):
                    conditions.append(after.words(after.source))
                    continue
                job, numbers = taken.get(after.source, ("", set()))
                # Less what waits for a task that Slurm did not take.
                tasks = {n: s for n, s in tasks.items() if (n if after.number is None else after.number) in numbers}
                conditions.append(after.words(job))
            if not tasks:
                continue
            job, tasks = self._submit_as_many(Array(array.wish, tasks), ",".join(conditions), submission)
            if not tasks:
                return  # each try may take sbatch minutes, and nobody else can submit or cancel meanwhile
            taken[position] = (job, set(tasks))
            for number, stage in tasks.items():
                submission.submitted[stage.id] = f"{job}_{number}"
                reason = "; ".join(why for node, why in submission.avoided.items() if node in wishes[stage.id].exclude)
                self._tell(Event("submitted", stage, job=submission.submitted[stage.id], reason=reason))

    def _submit_as_many(self, array: Array, dependency: str, submission: Submission) -> tuple[str, dict[int, Stage]]:
        """Submits an array, or the part of it that the cluster takes; job id and tasks, none when it takes not one."""
        tasks = dict(array.tasks)
        while tasks:
            try:
                return self._submit_array(Array(array.wish, tasks), dependency), tasks
            except QueueFull as full:
                submission.full = full
                tasks = dict(list(tasks.items())[: len(tasks) // 2])
        return "", {}

    def _avoid(self, known: Queue, wishes: dict[str, Resources], submission: Submission) -> None:
        """Leaves nodes out on which jobs of this run keep dying."""
        suspected = nodes.suspects(self.batches, known, self.graph.stages.keys())
        if not suspected:
            return
        members = {name: nodes.of_partition(name) for name in {wish.partition for wish in wishes.values()}}
        for stage_id, wish in wishes.items():
            wishes[stage_id] = nodes.avoiding(wish, suspected, members[wish.partition])
            added = wishes[stage_id].exclude[len(wish.exclude) :]
            submission.avoided.update({node: nodes.reason(node, suspected[node]) for node in added})

    def _wish(self, stage: Stage, given: Iterable[tuple[Batch, str]], known: Queue) -> Resources:
        """What the job of a stage asks for: more memory for each of its jobs that the kernel ended for want of it."""
        wish = self._wishes[stage.id]
        told = {job.id for job in known.jobs(stage.id) if job.state == "OUT_OF_MEMORY"}
        for batch, job in given:
            if job in told or ran_out_of_memory(batch, job):
                wish = wish.with_more_memory()
        return wish

    def _submit_array(self, array: Array, dependency: str) -> str:
        wish = array.wish
        assert isinstance(wish, Resources)
        code = {FOLDER: str(self._run.code)} if self._run.code else {}
        batch = self.batches.add(array.tasks, {**wish.to_json(), **code})
        try:
            job = self._sbatch_patiently(batch, wish, dependency)
        except QueueUnreachable:
            raise  # it may be in the queue, and need what lies there
        except HarnessError:
            with contextlib.suppress(QueueUnreachable):  # whatever sbatch has said: what lies there may be needed
                if not self._jobs_of(batch):
                    self.batches.discard(batch)
            raise
        self.batches.accepted(batch, job)
        return job

    def _sbatch_patiently(self, batch: Batch, wish: Resources, dependency: str) -> str:
        """Submits in spite of a controller that does not answer now and then."""
        for tries in range(1, SUBMIT_TRIES + 1):
            try:
                return sbatch(batch, self._run, self._record, wish, dependency)
            except QueueUnreachable:
                if tries == SUBMIT_TRIES:
                    raise
            time.sleep(RETRY_SECONDS * 2.0**tries)
            # A controller that timed out may have taken the job all the same.
            with contextlib.suppress(QueueUnreachable):
                if taken := self._jobs_of(batch):
                    return taken[0]
        raise AssertionError("unreachable")

    def _jobs_of(self, batch: Batch) -> Sequence[str]:
        """The ids of the arrays that Slurm has of a batch."""
        return Queue.ask(self.batches).arrays.get(batch.key, ())


def place(job: str) -> Place:
    """The place of a task in the queue."""
    array, _, number = job.partition("_")
    return Place(array, int(number))


def has_failed(store: Store, stage: Stage) -> bool:
    """Whether the last attempt at a stage failed for a reason that remains."""
    attempts = store.attempts(stage)
    return bool(attempts) and attempts[-1].state == FAILED and not attempts[-1].retryable
