"""Training curves as train stages recorded them: the loss at each step, and what had been spent by then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.analysis.intervals import Points
from harness.errors import HarnessError
from harness.store import Store

FILE = "telemetry.parquet"
COSTS = ("steps", "flops", "seconds", "images")
SMOOTHED = 0.05
"""The share of a phase's steps over which losses are averaged: a single batch says little about the model."""


@dataclass(frozen=True, eq=False)
class Curve:
    """The last phase of a training: ``losses`` [steps] and, by cost, what had been spent after each step [steps].

    Costs count from the beginning of the first phase. FLOPs are those of training, seconds those of its steps.
    """

    losses: Points
    costs: Mapping[str, Points]

    def smoothed(self, steps: int) -> Points:
        """The mean loss of the last ``steps`` steps, at every step that has as many before it [steps − window + 1]."""
        sums = np.concatenate([[0.0], np.cumsum(self.losses)])
        means: Points = (sums[steps:] - sums[:-steps]) / steps
        return means

    def spent(self, cost: str, loss: float, steps: int) -> float | None:
        """What had been spent when the smoothed loss first was as low as this; ``None`` when it never was."""
        reached = np.flatnonzero(self.smoothed(steps) <= loss)
        return float(self.costs[cost][reached[0] + steps - 1]) if len(reached) else None

    def total(self, cost: str) -> float:
        """What the whole training cost."""
        return float(self.costs[cost][-1])


def window(curves: Sequence[Curve]) -> int:
    """Over how many steps the losses of these curves are averaged when they are compared."""
    return max(1, round(SMOOTHED * min(len(curve.losses) for curve in curves)))


def read_curve(store: Store, train: Sequence[str]) -> Curve:
    """The curve of a run from its train stages, in order. Raises ``HarnessError`` when one cannot be read."""
    phases = [_columns(store.outputs(stage_id).path(FILE)) for stage_id in train]
    before = {cost: sum(float(np.cumsum(phase[cost])[-1]) for phase in phases[:-1]) for cost in COSTS}
    last = phases[-1]
    return Curve(last["loss"], {cost: before[cost] + np.cumsum(last[cost]) for cost in COSTS})


def _columns(path: Path) -> dict[str, Points]:
    from pyarrow import ArrowException, parquet

    try:
        table = parquet.read_table(path, columns=["loss", "flops", "seconds", "images"], use_threads=False)
        found = {name: _numbers(table[name]) for name in table.column_names}
        if not len(found["loss"]):
            raise ValueError("it holds no steps")
        for name, values in found.items():
            wrong = np.flatnonzero(~np.isfinite(values))
            if len(wrong):
                raise ValueError(f"step {wrong[0]} has no finite {name}")
    except (ArrowException, KeyError, ValueError, TypeError) as error:
        raise HarnessError(
            f"{path} cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            "It is damaged or was written by another version; set the stage aside or use another results folder.",
        ) from error
    return {**found, "steps": np.ones(len(found["loss"]))}


def _numbers(column: Any) -> Points:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
