"""Follows a run's jobs: looks at the store and the queue, again and again, and replaces what got lost.

It keeps no state that matters: killed at any moment, the next one finds everything in the store and in the queue.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.launch.events import Event, Kind, OnEvent, Report, Result, State
from harness.launch.execution import log_tail
from harness.launch.interruption import Interruption
from harness.launch.slurm import queue
from harness.launch.slurm.endings import recall
from harness.launch.slurm.queue import Job, Queue, QueueUnreachable
from harness.launch.slurm.sbatch import job_log
from harness.launch.slurm.submission import CANCELLED, Submitter
from harness.store import Attempt, Stage, Store
from harness.store.attempts import FAILED, KILLED
from harness.store.lease import Watch

UNREACHABLE_SECONDS = 3600.0  # for how long a waiting driver puts up with a silent controller
FULL_SECONDS = 120.0  # and with a full queue that holds nothing of this run: jobs that have just ended still count


class Supervisor:
    """Looks at the store and the queue, again and again, until every stage has ended."""

    def __init__(
        self, store: Store, submitter: Submitter, retries: int, poll_seconds: float, on_event: OnEvent
    ) -> None:
        self._store = store
        self._graph = submitter.graph
        self._submitter = submitter
        self._retries = retries
        self._poll_seconds = poll_seconds
        self._tell = on_event
        self._results: dict[str, Result] = {}
        self._jobs: dict[str, str] = {}  # of this run, by stage
        self._missed: dict[str, int] = {}  # successive answers in which a stage had no living job
        self._losses: dict[str, int] = {}  # since a stage has got on
        self._resumed: dict[str, int] = {}  # at which step the attempts began that were lost
        self._followed: dict[str, int] = {}  # the attempt of each stage that was told last
        self._progress: dict[str, object] = {}
        self._silent_since: float | None = None
        self._full_since: float | None = None
        self._watches: dict[str, Watch] = {}  # of the heartbeats of running jobs
        self._quiet: dict[str, float] = {}  # since when a job has been without one
        self._silent: set[str] = set()  # those that were cancelled for it
        self._foreign: set[str] = set()  # those that are another user's

    def run(self, interruption: Interruption) -> Report:
        """Submits, waits, replaces; returns when all has ended or a signal came."""
        first = True
        while not interruption.number:
            if not first and not self._store.root.is_dir():
                raise HarnessError(
                    f"The results folder {self._store.root} has vanished.",
                    "The jobs go on where they see it. Give the same command again when it is back.",
                )
            self._collect(reused=first)
            if len(self._results) == len(self._graph.stages):
                break
            if first:
                self._submit()
                first = False
            else:
                try:
                    self._look_at_jobs()
                    self._silent_since = None
                except QueueUnreachable as silence:
                    self._endure(silence)
            interruption.sleep(self._poll_seconds)
        unfinished = {stage.id: Result(stage, "unfinished") for stage in self._graph}
        results = {stage_id: self._results.get(stage_id, result) for stage_id, result in unfinished.items()}
        return Report(results, interruption.number)

    def _collect(self, reused: bool) -> None:
        """Takes over from the store what has been finished."""
        for stage in self._open():
            record = self._store.record(stage)
            if record is not None:
                state: State = "diverged" if record.outcome == "diverged" else "done"
                self._results[stage.id] = Result(stage, state, reused=reused, log=self._log(stage))
                self._tell(Event("reused" if reused else "finished", stage, record.outcome, attempt=record.attempt))
        self._block()

    def _look_at_jobs(self) -> None:
        known = Queue.ask(self._submitter.batches)
        lost: list[Stage] = []
        for stage in self._open():
            job = known.living(stage.id)
            if job is not None and not (self._is_silent(stage, job) and self._cancel_silent(stage, job)):
                self._missed[stage.id] = 0
                self._follow(stage)
                continue
            self._missed[stage.id] = self._missed.get(stage.id, 0) + 1
            # One answer is not enough: a job that Slurm puts into the queue again shows as ended for a moment.
            if self._missed[stage.id] >= 2 and not self._store.is_done(stage):
                self._missed[stage.id] = 0
                lost.append(stage)
        told = recall(known, self._submitter.batches, {stage.id for stage in lost})
        cancelled = self._submitter.cancelled() if lost else frozenset()
        for stage in lost:
            if stage.id in cancelled:
                self._give_up(stage, CANCELLED)
            else:
                self._lost(stage, told.jobs(stage.id))
        self._block()
        self._cancel_blocked(known)
        if lost and self._open():
            self._submit()

    def _is_silent(self, stage: Stage, job: Job) -> bool:
        """Whether Slurm shows a job as running whose process has not been heard of for long: suspended, or its node
        hangs, or the daemon of its step has died with it.
        """
        held = self._store.holder(stage) if job.state == "RUNNING" else None
        watch = self._watches.setdefault(stage.id, self._store.watch(stage))
        if held is None or held.owner.job != job.id or watch.look() is not None:
            self._quiet.pop(job.id, None)
            return False
        # Its script may be about to put it into the queue again.
        since = self._quiet.setdefault(job.id, time.monotonic())
        return time.monotonic() - since > self._store.terms.patience

    def _cancel_silent(self, stage: Stage, job: Job) -> bool:
        """Cancels a job that hangs and returns whether that was possible; of another user's job it tells once."""
        if queue.cancel_own([job]):
            self._silent.add(job.id)
            return True
        if job.id not in self._foreign:
            self._foreign.add(job.id)
            reason = f"job {job.id} has not been heard of for long; {job.user} alone can cancel it"
            self._tell(Event("held", stage, reason=reason, job=job.id))
        return False

    def _lost(self, stage: Stage, jobs: Sequence[Job]) -> None:
        """The stage has no job any more: another attempt, or the end of it."""
        ours = self._jobs.pop(stage.id, None)  # a full queue may take no other one for long, and this is one loss
        ready = all(self._store.is_done(stage_id) for stage_id in stage.inputs.values())
        attempt = next((each for each in reversed(self._store.attempts(stage)) if each.job == ours), None)
        if ours is None or (attempt is None and not ready):
            return  # not submitted yet, or cancelled because of an input: nothing of its own has failed
        last = next((job for job in jobs if job.id == ours), None)
        if attempt is None and last is not None and last.is_orphaned:
            return  # it waited for a job that died, and that has been replaced
        if attempt is not None and attempt.state == FAILED:
            reason, again = attempt.reason, attempt.retryable
        else:
            reason, again = f"{self._died(ours, last)} before the stage was done", True
        if self._has_got_on(stage):
            self._losses[stage.id] = 0
        self._losses[stage.id] = self._losses.get(stage.id, 0) + 1
        again = again and self._losses[stage.id] <= self._retries
        if attempt is not None:
            self._store.end_attempt(stage, attempt.number, KILLED if again else FAILED, reason, retryable=again)
        log, tail = self._words(stage, attempt, ours)
        if not again:
            self._results[stage.id] = Result(stage, "failed", reason, log=log)
        kind: Kind = "retrying" if again else "failed"
        number = attempt.number if attempt is not None else 0
        self._tell(Event(kind, stage, reason=reason, attempt=number, job=ours, log=log, tail=tail))

    def _has_got_on(self, stage: Stage) -> bool:
        """Whether the latest attempt resumed further on than the one of the loss before; see ``job.Endurance``."""
        step = self._store.progress(stage).get("first", {}).get("progress", {}).get("step")
        before = self._resumed.get(stage.id)
        if not isinstance(step, int):
            return False
        self._resumed[stage.id] = step
        return before is not None and step > before

    def _died(self, job: str, last: Job | None) -> str:
        """How a job ended, by what is known of it."""
        if job in self._silent:
            return f"job {job} had not been heard of for long and was cancelled"
        return str(last) if last is not None else f"job {job} is gone from the queue"

    def _follow(self, stage: Stage) -> None:
        """Tells what a running stage has written, and that its job has begun anew."""
        attempts = self._store.attempts(stage)
        if not attempts or attempts[-1].state != "running":
            return
        attempt = attempts[-1]
        before = self._followed.get(stage.id)
        if before != attempt.number:
            self._followed[stage.id] = attempt.number
            for earlier in attempts[:-1] if before is not None else ():
                if earlier.number == before:
                    reason = earlier.reason or self._died(earlier.job, None)
                    self._tell(Event("retrying", stage, reason=reason, attempt=before, job=earlier.job))
            self._tell(Event("started", stage, attempt=attempt.number, job=attempt.job, log=self._log(stage)))
        progress = self._store.progress(stage)
        if progress and progress != self._progress.get(stage.id):
            self._progress[stage.id] = progress
            self._tell(Event("progress", stage, attempt=attempt.number, progress=progress.get("progress", {})))

    def _submit(self) -> None:
        ended = {stage_id: result.state for stage_id, result in self._results.items() if result.state != "done"}
        submission = self._submitter.submit(ended)
        self._jobs.update(submission.jobs)
        for stage_id, reason in submission.blocked.items():
            if reason and stage_id not in self._results:  # the budget is spent, say
                self._give_up(self._graph[stage_id], reason)
        # Some are in the queue; the rest follows as those end. With none, waiting would be for ever.
        if submission.full is None or submission.jobs:
            self._full_since = None
            return
        self._full_since = self._full_since or time.monotonic()
        if time.monotonic() - self._full_since > FULL_SECONDS:
            raise submission.full

    def _block(self) -> None:
        found = True
        while found:
            found = False
            for stage in self._open():
                for role, stage_id in stage.inputs.items():
                    state = self._results[stage_id].state if stage_id in self._results else None
                    if state in ("failed", "blocked", "diverged"):
                        verb = "is" if state == "blocked" else "has"
                        reason = f"its {role}, {self._graph[stage_id]}, {verb} {state}"
                        self._give_up(stage, reason)
                        found = True
                        break

    def _give_up(self, stage: Stage, reason: str) -> None:
        """A stage that cannot run."""
        self._results[stage.id] = Result(stage, "blocked", reason)
        self._tell(Event("blocked", stage, reason=reason))

    def _cancel_blocked(self, known: Queue) -> None:
        """Takes jobs out of the queue that would wait for ever, or start only to find their input missing."""
        blocked = [result.stage for result in self._results.values() if result.state in ("blocked", "failed")]
        queue.cancel_own(job for stage in blocked for job in known.jobs(stage.id) if job.is_alive)

    def _endure(self, silence: QueueUnreachable) -> None:
        """A controller that does not answer says nothing about the jobs."""
        moment = time.monotonic()
        self._silent_since = self._silent_since or moment
        if moment - self._silent_since > UNREACHABLE_SECONDS:
            raise silence

    def _open(self) -> list[Stage]:
        return [stage for stage in self._graph if stage.id not in self._results]

    def _log(self, stage: Stage) -> Path:
        return self._store.path(stage) / "log.txt"

    def _words(self, stage: Stage, attempt: Attempt | None, job: str) -> tuple[Path, str]:
        """The log that tells most about the end of a job, and its last lines."""
        if attempt is not None:
            return self._log(stage), log_tail(self._log(stage), attempt.log_offset)
        given = self._submitter.batches.jobs().get(stage.id, ())
        log = next((job_log(batch, each) for batch, each in given if each == job), self._log(stage))
        return log, log_tail(log)
