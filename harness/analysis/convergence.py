"""The training loss of every run, step by step, as the train stages recorded it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.analysis.intervals import Points
from harness.analysis.sweeps import RunEntry, SavedSweep
from harness.errors import HarnessError
from harness.store import Store

TELEMETRY = "telemetry.parquet"


@dataclass(frozen=True, eq=False)
class Curve:
    """Of one run: the ``loss`` (nats a token) and the FLOPs so far after each step of all phases that have ended.

    ``ends`` is the number of steps after each phase, by its name; ``status`` is ``complete``, ``diverged`` (it ends
    before it should) or ``unfinished`` (phases are missing).
    """

    variant: str
    seed: int
    loss: Points
    flops: Points
    ends: tuple[tuple[str, int], ...]
    status: str


def training_curves(sweep: SavedSweep, store: Store) -> list[Curve]:
    """The curves of all runs of which a phase has ended. Raises ``HarnessError`` when one cannot be read.

    Runs that share a phase share its steps; each is read once.
    """
    read: dict[str, tuple[Points, Points]] = {}
    found = (_curve(run, sweep, store, read) for run in sweep.runs)
    return [curve for curve in found if curve is not None]


def smoothed(curve: Curve, window: int) -> Points:
    """The centred moving mean of the loss over ``window`` steps, fewer at the ends; phases are kept apart."""
    parts, start = [], 0
    for _, end in curve.ends:
        loss = curve.loss[start:end]
        sums = np.concatenate([[0.0], np.cumsum(loss)])
        steps = np.arange(len(loss))
        low = np.maximum(steps - window // 2, 0)
        high = np.minimum(steps + window // 2 + 1, len(loss))
        parts.append((sums[high] - sums[low]) / (high - low))
        start = end
    return np.concatenate(parts) if parts else np.zeros(0)


def _curve(run: RunEntry, sweep: SavedSweep, store: Store, read: dict[str, tuple[Points, Points]]) -> Curve | None:
    losses: list[Points] = []
    flops: list[Points] = []
    ends: list[tuple[str, int]] = []
    status = "complete"
    for stage_id in run.train:
        stage = sweep.stages[stage_id]
        record = store.record(stage)
        if record is None or TELEMETRY not in record.outputs:
            status = "unfinished"
            break
        if stage_id not in read:
            read[stage_id] = _read(store, stage_id)
        loss, spent = read[stage_id]
        losses.append(loss)
        flops.append(spent)
        phase = stage.config.get("name", "")
        ends.append((str(phase), (ends[-1][1] if ends else 0) + len(loss)))
        if record.outcome == "diverged":
            status = "diverged"
            break
    if not ends or not ends[-1][1]:
        return None
    return Curve(run.variant, run.seed, np.concatenate(losses), np.cumsum(np.concatenate(flops)), tuple(ends), status)


def _read(store: Store, stage_id: str) -> tuple[Points, Points]:
    from pyarrow import ArrowException, parquet

    path = store.outputs(stage_id).path(TELEMETRY)
    try:
        if not (table := parquet.read_table(path, use_threads=False)).num_columns:
            return np.zeros(0), np.zeros(0)  # it diverged at its first step
        loss, flops = (_numbers(table[name]) for name in ("loss", "flops"))
    except (ArrowException, KeyError, ValueError, TypeError) as error:
        raise HarnessError(
            f"{path} cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            "It is damaged or was written by another version; set the stage aside or use another results folder.",
        ) from error
    return loss, flops


def _numbers(column: Any) -> Points:
    values = np.asarray(column.to_numpy(), dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("it holds a number that is not finite")
    return values
