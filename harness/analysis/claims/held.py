"""What was held equal between the variants that a claim compares, and what was not: the confounds on our side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.samples.values import mean
from harness.analysis.statistics.differences import rounded
from harness.analysis.stored.arms import Arms
from harness.analysis.stored.runs import Run
from harness.analysis.tables.table import Row

NEARLY = 0.01
"""A share below which a difference is called nearly equal; the numbers are shown all the same."""

_MEASURED: Mapping[str, Callable[[Run], float | None]] = {
    "training steps": lambda run: run.steps,
    "images seen": lambda run: run.images,
    "text tokens": lambda run: run.text_tokens,
    "supervised tokens": lambda run: run.supervised_tokens,
    "train FLOPs": lambda run: run.train_flops,
}
_PLANNED: Mapping[str, Callable[[Row], float | None]] = {
    "parameters": lambda row: row.parameters,
    "trainable parameters": lambda row: row.trainable,
    "visual tokens": lambda row: row.visual_tokens,
}


@dataclass(frozen=True)
class Held:
    """A quantity of the compared variants: ``values`` by group, by variant in the order of the contrast.

    ``None`` where it is not known yet. What a training consumed is averaged over the seeds that all of them have.
    """

    quantity: str
    values: tuple[tuple[float | None, ...], ...]

    @property
    def is_known(self) -> bool:
        """Whether every value is there."""
        return all(value is not None for group in self.values for value in group)

    @property
    def spread(self) -> float:
        """The largest relative difference within a group; 0 is equal."""
        found = [0.0]
        for group in self.values:
            known = [value for value in group if value is not None]
            if known and max(known) > 0:
                found.append((max(known) - min(known)) / max(known))
        return max(found)

    def to_json(self) -> dict[str, Any]:
        """JSON values, stable keys."""
        return {
            "quantity": self.quantity,
            "values": [[rounded(value) for value in group] for group in self.values],
            "equal": self.spread == 0.0 if self.is_known else None,
        }


def held(rows: Mapping[str, Row], groups: Sequence[Arms]) -> tuple[Held, ...]:
    """Steps, images, tokens, parameters and FLOPs of the variants in each group."""
    variants = [[rows[name] for arm in arms for name in arm] for arms in groups]
    found = [
        Held(name, tuple(tuple(value(row) for row in group) for group in variants)) for name, value in _PLANNED.items()
    ]
    trained = [
        Held(name, tuple(_over_common_seeds(group, value) for group in variants)) for name, value in _MEASURED.items()
    ]
    return (*trained[:4], *found, *trained[4:])


def _over_common_seeds(group: Sequence[Row], value: Callable[[Run], float | None]) -> tuple[float | None, ...]:
    by_seed = [{run.entry.seed: number for run in row.runs if (number := value(run)) is not None} for row in group]
    common = [seed for seed in by_seed[0] if all(seed in numbers for numbers in by_seed)]
    return tuple(mean([numbers[seed] for seed in common]) if common else None for numbers in by_seed)
