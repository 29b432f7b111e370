"""The contrasts that a sweep was made for, measured: pairs of variants, and the positive control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from harness.analysis.statistics.differences import Difference
from harness.analysis.stored.arms import groups
from harness.analysis.stored.sweeps import ContrastEntry
from harness.analysis.tables.table import Table, difference, judged


@dataclass(frozen=True)
class Pair:
    """Two variants that differ in the contrast alone, and the second minus the first."""

    first: str
    second: str
    difference: Difference

    def to_json(self) -> dict[str, Any]:
        """JSON values, stable keys."""
        return {"from": self.first, "to": self.second, **self.difference.to_json()}


@dataclass(frozen=True)
class ControlResult:
    """The positive control; ``is_decided`` when every verdict is better, ``None`` while one is missing."""

    contrast: ContrastEntry
    pairs: tuple[Pair, ...]

    @property
    def is_decided(self) -> bool | None:
        """Whether the contrast came out as it must."""
        verdicts = [pair.difference.verdict for pair in self.pairs]
        if not verdicts or any(verdict is None for verdict in verdicts):
            return None
        return all(verdict == "better" for verdict in verdicts)

    def to_json(self) -> dict[str, Any]:
        """JSON values, stable keys."""
        return {
            "benchmark": self.contrast.benchmark,
            "contrast": {factor: list(levels) for factor, levels in self.contrast.levels.items()},
            "where": dict(self.contrast.where),
            "pairs": [pair.to_json() for pair in self.pairs],
            "decided": self.is_decided,
        }


def control_result(table: Table) -> ControlResult | None:
    """The sweep's positive control, if it has one."""
    control = table.sweep.control
    return ControlResult(control, measured_pairs(table, control)) if control is not None else None


def measured_pairs(
    table: Table, contrast: ContrastEntry, between: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[Pair, ...]:
    """Each level against the one before, in every group of variants that differ in the contrast alone."""
    found = []
    for arms in groups(table.sweep, contrast, between):
        for arm in arms:
            found += [pair(table, contrast.benchmark, *names) for names in pairwise(arm)]
    return tuple(found)


def pair(table: Table, benchmark: str, first: str, second: str) -> Pair:
    """The second variant minus the first, judged by itself."""
    terms = [(1.0, table.row(second).runs), (-1.0, table.row(first).runs)]
    found = difference(table.sweep, benchmark, terms)
    return Pair(first, second, judged(table.sweep, found, table.deviation(benchmark)))
