"""How each stage stands: from the store, and one ``squeue`` if any of them was given to Slurm."""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from harness.errors import HarnessError
from harness.launch.graph import Graph
from harness.launch.pace import seconds_left
from harness.launch.slurm.endings import recall
from harness.launch.slurm.queue import Job, Queue
from harness.store import Attempt, DamagedStage, Held, Stage, Store
from harness.store.attempts import FAILED, KILLED
from harness.store.batches import Batches
from harness.store.lease import Watch

State = Literal["done", "diverged", "running", "unknown", "queued", "failed", "lost", "blocked", "waiting"]


@dataclass(frozen=True)
class StageStatus:
    """How a stage stands.

    * ``done``, ``diverged``: finished, with that outcome;
    * ``running``: a living process or job works on it, ``progress`` is its last report;
    * ``unknown``: a process on another machine holds it, of which one look cannot tell whether it lives;
    * ``queued``: its job waits in Slurm's queue, ``reason`` says for what (``Priority``, ``Resources``, …);
    * ``failed``: the last attempt failed, or what is stored is damaged; ``reason`` says why;
    * ``lost``: the last attempt died without a word; the next run resumes it;
    * ``blocked``: it needs a stage that has failed, diverged or is blocked;
    * ``waiting``: nothing has been tried yet, or it was interrupted.

    ``reason`` of a stage that is running again is why the attempt before ended. ``node`` is the machine that works or
    worked on it. ``left_seconds``: to its end, by the speed of the attempt that runs; ``None`` where none runs, or it
    has reported only once. ``seconds``: what a finished stage took, all attempts.
    """

    stage: Stage
    state: State
    reason: str = ""
    job: str = ""
    node: str = ""
    attempts: int = 0
    progress: Mapping[str, Any] = field(default_factory=dict)
    left_seconds: float | None = None
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values; the stage by id, kind and slug."""
        content = {key: value for key, value in vars(self).items() if key != "stage"}
        return {"id": self.stage.id, "kind": self.stage.kind, "slug": self.stage.slug, **content}


@dataclass(frozen=True)
class Look:
    """How things stood at one moment: the status of each stage by id, and Slurm's jobs that stand for no stage."""

    stages: Mapping[str, StageStatus]
    others: Sequence[Job] = ()


def status(store: Store, stages: Sequence[Stage]) -> Mapping[str, StageStatus]:
    """The status of each stage by id, in the order given. Changes nothing.

    When Slurm does not answer, stages with a job are judged by the store alone, and ``reason`` says so.
    """
    return look(store, stages).stages


def look(
    store: Store,
    stages: Sequence[Stage],
    before: Mapping[str, StageStatus] | None = None,
    watches: MutableMapping[str, Watch] | None = None,
) -> Look:
    """The status of each stage as ``status`` has it, from one ``squeue`` at most, with what else that one told.

    Stages that had finished ``before`` are not looked at again. Whoever looks again and again passes the same
    ``watches`` each time: they remember the heartbeats of holders elsewhere, so that these are known to live or to be
    lost. No clocks of machines are compared.
    """
    watches = {} if watches is None else watches
    graph = Graph(stages)
    store.survey()
    finished = {stage_id: each for stage_id, each in (before or {}).items() if each.state in ("done", "diverged")}
    records = {stage.id: finished.get(stage.id) or _own(store, stage) for stage in graph}
    open_ids = {stage_id for stage_id, found in records.items() if isinstance(found, list)}
    batches = Batches(store.root)
    given = {stage_id: jobs[-1][1] for stage_id, jobs in batches.jobs().items()}
    unanswered = {stage_id for batch in batches if not batch.job for stage_id in batch.tasks.values()}
    slurm = _Told(given, unanswered)
    if open_ids & (given.keys() | unanswered):
        try:
            known = recall(Queue.ask(batches), batches, open_ids)
            own = {batch.job for batch in batches if batch.user == getpass.getuser()}
            slurm = replace(slurm, queue=known, own=own)
        except HarnessError as error:  # it does not answer, or there is no Slurm on this machine
            slurm = replace(slurm, silence=error.message)
    leased = store.leased()
    found: dict[str, StageStatus] = {}
    for stage in graph.in_dependency_order():
        record = records[stage.id]
        if isinstance(record, StageStatus):
            found[stage.id] = record
        else:
            held = store.holder(stage) if stage.id in leased else None
            found[stage.id] = _judge(store, stage, record, held, slurm, watches, found)
    return Look({stage.id: found[stage.id] for stage in graph}, slurm.queue.others)


@dataclass(frozen=True)
class _Told:
    """What was given to Slurm, and what it said: the last job of each stage; the stages of arrays that ``sbatch`` has
    not answered for; the queue, and this user's arrays (of others' jobs some clusters tell nothing); or why it is
    silent.
    """

    given: Mapping[str, str]
    unanswered: Collection[str]
    queue: Queue = field(default_factory=lambda: Queue({}, {}))
    own: Collection[str] = ()
    silence: str = ""


def _own(store: Store, stage: Stage) -> StageStatus | list[Attempt]:
    """The status of a stage that is finished or damaged, else its attempts."""
    try:
        record = store.outcome(stage)
    except DamagedStage as damage:
        return StageStatus(stage, "failed", damage.message)
    if record is None:
        return store.attempts(stage)
    return StageStatus(
        stage,
        "diverged" if record.outcome == "diverged" else "done",
        node=str(record.provenance.get("host", "")),
        attempts=record.attempt,
        seconds=record.took,
    )


def _judge(
    store: Store,
    stage: Stage,
    attempts: Sequence[Attempt],
    held: Held | None,
    slurm: _Told,
    watches: MutableMapping[str, Watch],
    others: Mapping[str, StageStatus],
) -> StageStatus:
    last = attempts[-1] if attempts else None
    jobs, given = slurm.queue.jobs(stage.id), slurm.given.get(stage.id, "")
    told = store.progress(stage) if last is not None else {}  # who reports has opened an attempt before

    def result(state: State, reason: str = "", job: str = "", node: str = "") -> StageStatus:
        own = last is not None and told.get("attempt") == last.number
        return StageStatus(
            stage,
            state,
            reason,
            job or (last.job if last else given),
            node or (str(last.owner.get("host", "")) if last and state in ("running", "lost", "failed") else ""),
            len(attempts),
            told.get("progress", {}) if state != "blocked" else {},
            seconds_left(told) if own and state == "running" else None,
        )

    for role, stage_id in stage.inputs.items():
        if stage_id in others and others[stage_id].state in ("failed", "blocked", "diverged"):
            return result("blocked", f"its {role}, {others[stage_id].stage}, is {others[stage_id].state}")
    job = next((job for job in jobs if job.is_alive), None)
    alive = held is not None and _is_alive(held, job, slurm.own, watches.setdefault(stage.id, store.watch(stage)))
    if held is not None and alive:
        return result("running", _before(attempts), held.owner.job, held.owner.host)
    if held is not None and alive is None:
        reason = "one look cannot tell whether it lives; `harness status --watch` can"
        return result("unknown", reason, held.owner.job, held.owner.host)
    if job is not None and not job.is_stuck:
        if job.state == "PENDING":
            return result("queued", "" if job.reason == "None" else job.reason, job.id)
        return result("running", _before(attempts), job.id, job.nodes)
    if job is not None:
        return result("lost", str(job), job.id)
    if last is not None and last.state == FAILED:
        return result("failed", last.reason)
    if last is not None and last.state == KILLED:
        return result("waiting", last.reason) if last.reason == "interrupted" else result("lost", last.reason)
    if last is None and not given:
        return result("waiting", "being submitted" if stage.id in slurm.unanswered else "")
    if slurm.silence:
        return result("lost" if last is not None else "queued", f"unknown to the store; {slurm.silence}")
    if last is None and not all(role in others and others[role].state == "done" for role in stage.inputs.values()):
        return result("waiting")  # its job went when that of an input did
    number = last.job if last is not None else given
    ended = next((str(job) for job in jobs if job.id == number), "")
    gone = f"job {number} is gone from the queue" if number else "its process is dead"
    return result("lost", ended or gone)


def _before(attempts: Sequence[Attempt]) -> str:
    """Why the attempt before the one that runs now ended."""
    ended = [attempt for attempt in attempts if attempt.state in (FAILED, KILLED)]
    return (ended[-1].reason or f"attempt {ended[-1].number} died without a word") if ended else ""


def _is_alive(held: Held, job: Job | None, own: Collection[str], watch: Watch) -> bool | None:
    """Whether a holder lives. Of one elsewhere Slurm knows, or else its heartbeat once it has been watched: before
    that nobody does.
    """
    alive = held.owner.is_alive()
    if alive is not None:
        return alive
    if held.owner.job and job is not None:
        return job.id == held.owner.job and job.state != "PENDING"
    if held.owner.job.partition("_")[0] in own:
        return False  # gone from the queue
    with contextlib.suppress(OSError):
        if watch.look() is None:
            return False
    return True if watch.has_stirred else None
