"""Runs a graph of stages as Slurm jobs: one job a stage, submitted through submitit, the store as the only truth.

submitit is the transport and nothing else: its pickles carry a path, its results are never read, its idea of a job's
state (from ``sacct``) is never asked. What has happened is in the store; what may still happen is in ``squeue``.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HarnessError
from harness.launch import squeue
from harness.launch.events import Event, Kind, OnEvent, Report, Result, State, ignore
from harness.launch.execution import log_tail
from harness.launch.graph import Graph
from harness.launch.interruption import Interruption, signals
from harness.launch.job import StageJob
from harness.launch.pool import python_path, thread_environment
from harness.launch.squeue import Job, QueueUnreachable, job_name
from harness.store import Attempt, Stage, Store
from harness.store.attempts import FAILED, KILLED, SUBMITTED

SIGNAL_SECONDS = 120  # before the time limit, for the executor's last checkpoint
MAX_TIMEOUTS = 50  # a job that runs out of time goes into the queue again and resumes, so often
SUBMIT_TRIES = 5
RETRY_SECONDS = 1.0  # doubled from try to try
UNREACHABLE_SECONDS = 3600.0  # for how long a waiting driver puts up with a silent controller

# Refusals that a later try may not meet.
_BUSY_CONTROLLER = (
    "Socket timed out",
    "Unable to contact slurm controller",
    "Connection refused",
    "Connection reset",
    "Zero Bytes were transmitted",
    "standby mode",
    "temporarily un",
)
_FULL_QUEUE = ("MaxSubmitJob", "QOSMaxSubmit", "job submit limit", "MaxJobCount", "limits cannot be satisfied")


@dataclass(frozen=True)
class Resources:
    """What every job of a run asks for; ``None`` and 0 leave it to the cluster. ``setup`` are shell lines."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time_minutes: int = 240
    memory_gb: float | None = None
    cpus: int | None = None
    gpus: int | None = None
    setup: Sequence[str] = ()


@dataclass
class Submission:
    """What a submission did: job ids by stage id of new jobs, of jobs that were in the queue already, the stages that
    are done, and those that cannot run (with the reason).
    """

    submitted: dict[str, str] = field(default_factory=dict)
    alive: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    blocked: dict[str, str] = field(default_factory=dict)


class QueueFull(HarnessError):
    """The cluster takes no more jobs of this user for now."""


def submit(
    store: Store,
    stages: Sequence[Stage],
    resources: Resources,
    *,
    threads: int = 1,
    on_event: OnEvent = ignore,
    registry: Path | None = None,
) -> Submission:
    """Puts every stage that is neither done nor in the queue into the queue, and returns.

    Jobs wait for the jobs of their inputs. Jobs that can never start are cancelled and submitted anew. To be repeated
    at will: only what is missing is submitted, also when two do it at once. ``threads`` are those of each job's
    arithmetic. Raises ``HarnessError`` when Slurm is missing or refuses.
    """
    squeue.require("sbatch", "srun", "squeue", "scancel")
    graph = Graph(stages)
    graph.check(store)
    submitter = _Submitter(store, graph, resources, threads, on_event, registry)
    return submitter.submit({}, report_done=True)


def run(
    store: Store,
    stages: Sequence[Stage],
    resources: Resources,
    *,
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
    squeue.require("sbatch", "srun", "squeue", "scancel")
    graph = Graph(stages)
    graph.check(store)
    submitter = _Submitter(store, graph, resources, threads, on_event, registry)
    with signals() as interruption:
        return _Supervisor(store, graph, submitter, retries, poll_seconds, on_event).run(interruption)


def cancel(store: Store, stages: Sequence[Stage]) -> list[str]:
    """Cancels all jobs of the given stages and returns their ids. What they wrote stays, to be resumed."""
    squeue.require("squeue", "scancel")
    known = squeue.jobs_by_name()
    jobs = [job.id for stage in stages for job in known.get(job_name(store, stage), []) if job.is_alive]
    squeue.cancel(jobs)
    return jobs


def job_log(store: Store, stage: Stage, job: str) -> Path:
    """What a job printed outside of its stage: the log of a job that died before it could open the stage."""
    return store.path(stage) / "slurm" / f"{job}_0_log.out"


class _Submitter:
    def __init__(
        self,
        store: Store,
        graph: Graph,
        resources: Resources,
        threads: int,
        on_event: OnEvent,
        registry: Path | None,
    ) -> None:
        self._store = store
        self._graph = graph
        self._resources = resources
        self._threads = threads
        self._tell = on_event
        self._registry = registry

    def submit(self, ended: Mapping[str, State], report_done: bool = False) -> Submission:
        """Submits what is missing, except stages that have ``ended`` for this run, and those behind them."""
        submission = Submission()
        # Two drivers at once would each miss the jobs that the other is submitting.
        with self._store.exclusive("submission"):
            known = squeue.jobs_by_name()
            stuck = [
                job.id for stage in self._graph for job in known.get(job_name(self._store, stage), []) if job.is_stuck
            ]
            if stuck:
                squeue.cancel(stuck)
            jobs: dict[str, str] = {}
            for stage in self._graph.in_dependency_order():
                record = self._store.record(stage)
                if record is not None:
                    submission.done.append(stage.id)
                    if report_done:
                        self._tell(Event("reused", stage, outcome=record.outcome))
                    continue
                reason = self._obstacle(stage, submission, ended)
                if stage.id in ended or reason:
                    submission.blocked[stage.id] = reason
                    continue
                alive = [j for j in known.get(job_name(self._store, stage), []) if j.is_alive and j.id not in stuck]
                if alive:
                    jobs[stage.id] = submission.alive[stage.id] = alive[0].id
                    self._adopt(stage, alive[0].id)
                    continue
                needed = [jobs[stage_id] for stage_id in stage.inputs.values() if stage_id in jobs]
                jobs[stage.id] = submission.submitted[stage.id] = self._submit_one(stage, needed)
                self._tell(Event("submitted", stage, job=jobs[stage.id]))
        return submission

    def _obstacle(self, stage: Stage, submission: Submission, ended: Mapping[str, State]) -> str:
        for role, stage_id in stage.inputs.items():
            name = self._graph.stages.get(stage_id, stage_id)
            record = self._store.record(stage_id)
            if record is not None and record.outcome == "diverged":
                return f"its {role}, {name}, has diverged"
            if record is None and (stage_id in submission.blocked or stage_id in ended):
                return f"its {role}, {name}, has failed or is blocked"
        return ""

    def _submit_one(self, stage: Stage, needed: Sequence[str]) -> str:
        spec = self._store.register(stage)
        folder = spec.parent / "slurm"
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)  # submitit unpickles what lies here
        try:
            job = self._sbatch_patiently(stage, spec, folder, needed)
        except QueueUnreachable:
            raise  # the job may be in the queue and need its pickle
        except HarnessError:
            _discard(folder)
            raise
        _discard(folder)
        return job

    def _sbatch_patiently(self, stage: Stage, spec: Path, folder: Path, needed: Sequence[str]) -> str:
        """Submits in spite of a controller that does not answer now and then."""
        for tries in range(1, SUBMIT_TRIES + 1):
            try:
                job = self._sbatch(stage, spec, folder, needed)
                self._store.submitted(stage, job)
                return job
            except QueueUnreachable:
                if tries == SUBMIT_TRIES:
                    raise
            time.sleep(RETRY_SECONDS * 2.0**tries)
            # A controller that timed out may have taken the job all the same.
            with contextlib.suppress(QueueUnreachable):
                taken = [job for job in squeue.jobs_by_name().get(job_name(self._store, stage), []) if job.is_alive]
                if taken:
                    self._adopt(stage, taken[0].id)
                    return taken[0].id
        raise AssertionError("unreachable")

    def _sbatch(self, stage: Stage, spec: Path, folder: Path, needed: Sequence[str]) -> str:
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        resources = self._resources
        pins = {**thread_environment(self._threads), "PYTHONPATH": python_path()}
        setup = [
            *resources.setup,
            # srun no longer takes this over from sbatch since 22.05, and would run the step on the default number.
            '[ -z "$SLURM_CPUS_PER_TASK" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"',
            *(f"export {name}={shlex.quote(value)}" for name, value in pins.items()),
        ]
        parameters = {
            "job_name": job_name(self._store, stage),
            "comment": re.sub(r"[^\w=,.+-]", "-", f"{stage.kind} {stage.slug}")[:120],
            "partition": resources.partition,
            "account": resources.account,
            "qos": resources.qos,
            "time": int(resources.time_minutes),
            "mem": f"{int(resources.memory_gb * 1024)}M" if resources.memory_gb else None,
            "cpus_per_task": resources.cpus or self._threads,
            "gpus_per_node": resources.gpus or None,
            "dependency": "afterok:" + ":".join(needed) if needed else None,
            "signal_delay_s": SIGNAL_SECONDS,
            "stderr_to_stdout": True,
            "wckey": None,  # submitit's default is refused where keys are checked
            "setup": setup,
            # A job whose input failed goes away by itself, also when nobody waits here to cancel it.
            "additional_parameters": {"requeue": True, "kill-on-invalid-dep": "yes"},
        }
        words = io.StringIO()
        with _clean_environment(), contextlib.redirect_stderr(words):
            python = f"{shlex.quote(sys.executable)} -P"
            executor = submitit.SlurmExecutor(folder=folder, python=python, max_num_timeout=MAX_TIMEOUTS)
            executor.update_parameters(**parameters)
            try:
                job = executor.submit(StageJob(str(self._registry or "")), str(spec))
            except (FailedJobError, FailedSubmissionError) as error:
                raise _refusal(str(error).strip() or words.getvalue().strip()) from error
        return str(job.job_id)

    def _adopt(self, stage: Stage, job: str) -> None:
        """Completes a submission that was cut off after ``sbatch``: the job looks for its pickle under its own name."""
        folder = self._store.register(stage).parent / "slurm"
        pickle = folder / f"{job}_submitted.pkl"
        if not pickle.exists():
            for orphan in _orphans(folder)[:1]:
                os.replace(orphan, pickle)
        if not any(attempt.job == job for attempt in self._store.attempts(stage)):
            self._store.submitted(stage, job)


class _Supervisor:
    """Looks at the store and the queue, again and again, until every stage has ended."""

    def __init__(
        self, store: Store, graph: Graph, submitter: _Submitter, retries: int, poll_seconds: float, on_event: OnEvent
    ) -> None:
        self._store = store
        self._graph = graph
        self._submitter = submitter
        self._retries = retries
        self._poll_seconds = poll_seconds
        self._tell = on_event
        self._results: dict[str, Result] = {}
        self._jobs: dict[str, str] = {}  # of this run, by stage
        self._missed: dict[str, int] = {}  # successive answers in which a stage had no living job
        self._losses: dict[str, int] = {}
        self._started: set[tuple[str, int]] = set()
        self._progress: dict[str, object] = {}
        self._silent_since: float | None = None

    def run(self, interruption: Interruption) -> Report:
        """Submits, waits, replaces; returns when all has ended or a signal came."""
        first = True
        while not interruption.number:
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
        known = squeue.jobs_by_name()
        missing = False
        for stage in self._open():
            jobs = known.get(job_name(self._store, stage), [])
            alive = [job for job in jobs if job.is_alive and not job.is_stuck]
            if alive:
                self._missed[stage.id] = 0
                self._follow(stage)
                continue
            self._missed[stage.id] = self._missed.get(stage.id, 0) + 1
            # One answer is not enough: a job that Slurm puts into the queue again shows as ended for a moment.
            if self._missed[stage.id] >= 2 and not self._store.is_done(stage):
                self._missed[stage.id] = 0
                self._lost(stage, jobs)
                missing = True
        self._block()
        self._cancel_blocked(known)
        if missing and self._open():
            self._submit()

    def _lost(self, stage: Stage, jobs: Sequence[Job]) -> None:
        """The stage has no job any more: another attempt, or the end of it."""
        ours = [attempt for attempt in self._store.attempts(stage) if attempt.job == self._jobs.get(stage.id, "-")]
        if not ours or self._waited_in_vain(stage, ours[-1]):
            return  # not submitted yet, or cancelled because of an input: nothing of its own has failed
        attempt = ours[-1]
        last = next((job for job in jobs if job.id == attempt.job), None)
        cancelled = last is not None and last.state == "CANCELLED"
        if attempt.state == FAILED:
            reason, again = attempt.reason, attempt.retryable
        else:
            died = str(last) if last is not None else f"job {attempt.job} is gone from the queue"
            reason, again = f"{died} before the stage was done", not cancelled
            self._store.end_attempt(stage, attempt.number, KILLED, reason)
        self._losses[stage.id] = self._losses.get(stage.id, 0) + 1
        again = again and self._losses[stage.id] <= self._retries
        log, tail = self._words(stage, attempt)
        if not again:
            self._results[stage.id] = Result(stage, "failed", reason, log=log)
            self._store.end_attempt(stage, attempt.number, FAILED, reason)
        kind: Kind = "retrying" if again else "failed"
        self._tell(Event(kind, stage, reason=reason, attempt=attempt.number, job=attempt.job, log=log, tail=tail))

    def _waited_in_vain(self, stage: Stage, attempt: Attempt) -> bool:
        started = attempt.state != SUBMITTED
        return not started and not all(self._store.is_done(stage_id) for stage_id in stage.inputs.values())

    def _follow(self, stage: Stage) -> None:
        """Tells what a running stage has written."""
        attempt = next(iter(reversed(self._store.attempts(stage))), None)
        if attempt is None or attempt.state != "running":
            return
        if (stage.id, attempt.number) not in self._started:
            self._started.add((stage.id, attempt.number))
            self._tell(Event("started", stage, attempt=attempt.number, job=attempt.job, log=self._log(stage)))
        progress = self._store.progress(stage)
        if progress and progress != self._progress.get(stage.id):
            self._progress[stage.id] = progress
            self._tell(Event("progress", stage, attempt=attempt.number, progress=progress.get("progress", {})))

    def _submit(self) -> None:
        ended = {stage_id: result.state for stage_id, result in self._results.items() if result.state != "done"}
        try:
            submission = self._submitter.submit(ended)
            self._jobs.update({**submission.alive, **submission.submitted})
        except QueueFull:
            # Some are in the queue; the rest follows as those end. With none, waiting would be for ever.
            known = squeue.jobs_by_name()
            if not any(job.is_alive for stage in self._open() for job in known.get(job_name(self._store, stage), [])):
                raise

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
                        self._results[stage.id] = Result(stage, "blocked", reason)
                        self._tell(Event("blocked", stage, reason=reason))
                        found = True
                        break

    def _cancel_blocked(self, known: Mapping[str, Sequence[Job]]) -> None:
        """Takes jobs out of the queue that would wait for ever, or start only to find their input missing."""
        blocked = [result.stage for result in self._results.values() if result.state in ("blocked", "failed")]
        squeue.cancel(
            job.id for stage in blocked for job in known.get(job_name(self._store, stage), []) if job.is_alive
        )

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

    def _words(self, stage: Stage, attempt: Attempt) -> tuple[Path, str]:
        """The log that tells most about the end of an attempt, and its last lines."""
        if attempt.state != SUBMITTED:
            log = self._log(stage)
            return log, log_tail(log, attempt.log_offset)
        log = job_log(self._store, stage, attempt.job)
        return log, log_tail(log)


def _orphans(folder: Path) -> list[Path]:
    """Pickles of submissions whose job id was never learnt; all of a stage's are alike."""
    return [path for path in folder.glob("*.pkl") if re.fullmatch(r"[0-9a-f]{32}", path.stem)]


def _discard(folder: Path) -> None:
    for orphan in _orphans(folder):
        orphan.unlink(missing_ok=True)


def _refusal(answer: str) -> HarnessError:
    """The error that ``sbatch``'s answer means."""
    text = " ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in answer.splitlines())
    if any(words in text for words in _BUSY_CONTROLLER):
        return QueueUnreachable("sbatch", text)
    if any(words in text for words in _FULL_QUEUE):
        return QueueFull(
            f"Slurm takes no more jobs now: {text}",
            "What was submitted stays in the queue. Give the same command again later, or with `--wait`.",
        )
    return HarnessError(
        f"Slurm refused a job: {text}",
        "Correct the `cluster` section (partition, account, qos, time_minutes, memory_gb, cpus, gpus); "
        "what was submitted before stays in the queue.",
    )


@contextlib.contextmanager
def _clean_environment() -> Iterator[None]:
    """submitit gives ``sbatch`` the environment of this process, which may itself be a job's."""
    before = dict(os.environ)
    clean = squeue.clean_environment(before)
    for name in before.keys() - clean.keys():
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(before)
