"""The training loss of every run, step by step, as the train stages recorded it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.analysis.samples.values import Points
from harness.analysis.stored.sweeps import RunEntry, SavedSweep
from harness.analysis.stored.telemetry import FILE, Steps, read_steps
from harness.store import Store


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
    read: dict[str, Steps] = {}
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


def _curve(run: RunEntry, sweep: SavedSweep, store: Store, read: dict[str, Steps]) -> Curve | None:
    losses: list[Points] = []
    flops: list[Points] = []
    ends: list[tuple[str, int]] = []
    status = "complete"
    for stage_id in run.train:
        stage = sweep.stages[stage_id]
        record = store.record(stage)
        if record is None or FILE not in record.outputs:
            status = "unfinished"
            break
        if stage_id not in read:
            read[stage_id] = read_steps(store, record)
        steps = read[stage_id]
        losses.append(steps.loss)
        flops.append(steps.flops)
        phase = stage.config.get("name", "")
        ends.append((str(phase), (ends[-1][1] if ends else 0) + len(steps.loss)))
        if record.outcome == "diverged":
            status = "diverged"
            break
    if not ends or not ends[-1][1]:
        return None
    return Curve(run.variant, run.seed, np.concatenate(losses), np.cumsum(np.concatenate(flops)), tuple(ends), status)
