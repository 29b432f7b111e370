"""How each stage stands: from the store, and one ``squeue`` if any of them was given to Slurm."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.errors import HarnessError
from harness.launch.graph import Graph
from harness.launch.slurm.queue import Job, Queue
from harness.store import Attempt, DamagedStage, Held, Stage, Store
from harness.store.attempts import FAILED, KILLED
from harness.store.batches import Batches

SILENT_SECONDS = 600.0  # a holder elsewhere that has not been heard of for so long is shown as lost

State = Literal["done", "diverged", "running", "queued", "failed", "lost", "blocked", "waiting"]


@dataclass(frozen=True)
class StageStatus:
    """How a stage stands.

    * ``done``, ``diverged``: finished, with that outcome;
    * ``running``: a living process or job works on it, ``progress`` is its last report;
    * ``queued``: its job waits in Slurm's queue, ``detail`` says for what;
    * ``failed``: the last attempt failed, or what is stored is damaged; ``detail`` says why;
    * ``lost``: the last attempt died without a word; the next run resumes it;
    * ``blocked``: it needs a stage that has failed, diverged or is blocked;
    * ``waiting``: nothing has been tried yet, or it was interrupted.
    """

    stage: Stage
    state: State
    detail: str = ""
    job: str = ""
    attempts: int = 0
    progress: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """JSON values; the stage by id, kind and slug."""
        content = {key: value for key, value in vars(self).items() if key != "stage"}
        return {"id": self.stage.id, "kind": self.stage.kind, "slug": self.stage.slug, **content}


def status(store: Store, stages: Sequence[Stage]) -> dict[str, StageStatus]:
    """The status of each stage by id, in the order given. Changes nothing.

    When Slurm does not answer, stages with a job are judged by the store alone, and ``detail`` says so.
    """
    graph = Graph(stages)
    records = {stage.id: _own(store, stage) for stage in graph}
    open_ids = {stage_id for stage_id, found in records.items() if isinstance(found, list)}
    batches = Batches(store.root)
    given = {stage_id: jobs[-1][1] for stage_id, jobs in batches.jobs().items()}
    known, silence = Queue({}, {}), ""
    if open_ids & given.keys():
        try:
            known = Queue.ask(batches)
        except HarnessError as error:  # it does not answer, or there is no Slurm on this machine
            silence = error.message
    found: dict[str, StageStatus] = {}
    for stage in graph.in_dependency_order():
        own = records[stage.id]
        if isinstance(own, StageStatus):
            found[stage.id] = own
        else:
            found[stage.id] = _judge(store, stage, own, known.jobs(stage.id), given.get(stage.id, ""), silence, found)
    return {stage.id: found[stage.id] for stage in graph}


def _own(store: Store, stage: Stage) -> StageStatus | list[Attempt]:
    """The status of a stage that is finished or damaged, else its attempts."""
    try:
        record = store.record(stage)
        attempts = store.attempts(stage)
    except DamagedStage as damage:
        return StageStatus(stage, "failed", damage.message)
    if record is None:
        return attempts
    return StageStatus(stage, "diverged" if record.outcome == "diverged" else "done", attempts=len(attempts))


def _judge(
    store: Store,
    stage: Stage,
    attempts: Sequence[Attempt],
    jobs: Sequence[Job],
    given: str,
    silence: str,
    others: Mapping[str, StageStatus],
) -> StageStatus:
    last = attempts[-1] if attempts else None
    progress = store.progress(stage).get("progress", {})

    def result(state: State, detail: str = "", job: str = "") -> StageStatus:
        shown = progress if state in ("running", "lost", "failed") else {}
        return StageStatus(stage, state, detail, job or (last.job if last else given), len(attempts), shown)

    for role, stage_id in stage.inputs.items():
        if stage_id in others and others[stage_id].state in ("failed", "blocked", "diverged"):
            return result("blocked", f"its {role}, {others[stage_id].stage}, is {others[stage_id].state}")
    job = next((job for job in jobs if job.is_alive), None)
    held = store.holder(stage)
    alive = _is_alive(held, job) if held is not None else False
    if held is not None and alive:
        return result("running", str(held.owner), held.owner.job)
    if job is not None and not job.is_stuck:
        if job.state == "PENDING":
            return result("queued", job.reason, job.id)
        return result("running", f"{job} on {job.nodes}", job.id)
    if job is not None:
        return result("lost", str(job), job.id)
    if last is not None and last.state == FAILED:
        return result("failed", last.reason)
    if last is not None and last.state == KILLED:
        return result("waiting", last.reason) if last.reason == "interrupted" else result("lost", last.reason)
    if last is None and not given:
        return result("waiting")
    if silence:
        return result("lost" if last is not None else "queued", f"unknown to the store; {silence}")
    if last is None and not all(role in others and others[role].state == "done" for role in stage.inputs.values()):
        return result("waiting")  # its job went when that of an input did
    number = last.job if last is not None else given
    ended = next((str(job) for job in jobs if job.id == number), "")
    gone = f"job {number} is gone from the queue" if number else "its process is dead"
    return result("lost", ended or gone)


def _is_alive(held: Held, job: Job | None) -> bool:
    """Whether a holder lives. Of one elsewhere Slurm knows, or else the time of its last heartbeat."""
    alive = held.owner.is_alive()
    if alive is not None:
        return alive
    if held.owner.job and job is not None:
        return job.id == held.owner.job and job.state != "PENDING"
    return time.time() - held.beat_time < SILENT_SECONDS
