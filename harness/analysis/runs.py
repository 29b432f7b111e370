"""How each run stands, from the store alone, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.analysis.scores import ScoreReader, TaskScores
from harness.analysis.sweeps import RunEntry, SavedSweep
from harness.store import Record, Store
from harness.store.attempts import FAILED

RunStatus = Literal["complete", "diverged", "failed", "running", "unfinished", "missing"]


@dataclass(frozen=True)
class Run:
    """A variant with a seed: its status, why it is not complete, its scores by task (those there are), its costs.

    ``parameters``, ``trainable``, ``train_flops``, ``train_seconds`` and ``core_seconds`` are ``None`` until all
    phases are trained; the core-seconds are those of training and evaluation, over all attempts, and
    ``evaluation_seconds`` those of evaluation alone. ``steps``, ``images``, ``text_tokens`` and ``supervised_tokens``
    are what it was trained on, over all phases.
    """

    entry: RunEntry
    status: RunStatus
    detail: str
    scores: Mapping[str, TaskScores]
    parameters: int | None = None
    trainable: int | None = None
    visual_tokens: int | None = None
    train_flops: float | None = None
    train_seconds: float | None = None
    core_seconds: float | None = None
    evaluation_seconds: float | None = None
    steps: int | None = None
    images: int | None = None
    text_tokens: int | None = None
    supervised_tokens: int | None = None


def read_runs(sweep: SavedSweep, store: Store, reader: ScoreReader) -> tuple[Run, ...]:
    """All runs of a sweep as they stand now. Raises ``DamagedStage`` when what is stored is not what was written."""
    records: dict[str, Record | None] = {}
    for stage_id, stage in sweep.stages.items():
        # With the stage, so that a stored config that is another one is an error and not a result.
        records[stage_id] = store.record(stage)
    return tuple(_run(entry, sweep, store, records, reader) for entry in sweep.runs)


def _run(
    entry: RunEntry, sweep: SavedSweep, store: Store, records: Mapping[str, Record | None], reader: ScoreReader
) -> Run:
    status, detail = _status(entry, sweep, store, records)
    done = {task: stage_id for task, stage_id in entry.evaluate.items() if task in sweep.tasks and records[stage_id]}
    scores = {task: reader.read(done[task]) for task in sweep.tasks if task in done}
    train = [records[stage_id] for stage_id in entry.train]
    finished = [record for record in train if record is not None]
    if len(finished) < len(train):
        return Run(entry, status, detail, scores)
    evaluations = [record for stage_id in entry.evaluate.values() if (record := records[stage_id]) is not None]
    core_seconds = evaluation_seconds = None
    if len(evaluations) == len(entry.evaluate):
        evaluation_seconds = sum(record.total_core_seconds for record in evaluations)
        core_seconds = sum(record.total_core_seconds for record in finished) + evaluation_seconds
    return Run(
        entry,
        status,
        detail,
        scores,
        parameters=_last(finished, "parameters", "total"),
        trainable=max((_value(record, "parameters", "trainable") or 0 for record in finished), default=0) or None,
        visual_tokens=_last(finished, "visual_tokens_per_image"),
        train_flops=_sum(finished, "train_flops"),
        train_seconds=_sum(finished, "train_seconds"),
        core_seconds=core_seconds,
        evaluation_seconds=evaluation_seconds,
        steps=_whole(finished, "steps"),
        images=_whole(finished, "images"),
        text_tokens=_whole(finished, "text_tokens"),
        supervised_tokens=_whole(finished, "supervised_tokens"),
    )


def _status(
    entry: RunEntry, sweep: SavedSweep, store: Store, records: Mapping[str, Record | None]
) -> tuple[RunStatus, str]:
    """The status of a run, and of its first stage that speaks against completeness what is wrong."""
    running = failed = ""
    for stage_id in entry.stages:
        stage, record = sweep.stages[stage_id], records[stage_id]
        if record is not None:
            if record.outcome == "diverged":
                where = f" at step {record.summary['step']}" if "step" in record.summary else ""
                return "diverged", f"{stage.slug}{where}"
            continue
        holder = store.holder(stage)
        attempts = store.attempts(stage)
        # Of another host it cannot be told; whoever holds a lease there counts as alive until `status` asks Slurm.
        if holder is not None and holder.owner.is_alive() is not False:
            running = running or stage.slug
        elif attempts and attempts[-1].state == FAILED:
            failed = failed or f"{stage.slug}: {attempts[-1].reason.splitlines()[0] if attempts[-1].reason else '?'}"
    if failed:
        return "failed", failed
    if running:
        return "running", running
    if all(records[entry.evaluate[task]] is not None for task in sweep.tasks):
        return "complete", ""
    begun = any(records[stage_id] is not None for stage_id in (*entry.train, *entry.evaluate.values()))
    return ("unfinished" if begun else "missing"), ""


def _value(record: Record, *keys: str) -> Any:
    value: Any = record.summary
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _last(records: Sequence[Record], *keys: str) -> Any:
    return _value(records[-1], *keys)


def _sum(records: Sequence[Record], key: str) -> float | None:
    values = [_value(record, key) for record in records]
    return None if any(value is None for value in values) else sum(values)


def _whole(records: Sequence[Record], key: str) -> int | None:
    total = _sum(records, key)
    return None if total is None else int(total)
