"""The contrasts that a sweep was made for: claims of the literature and the positive control, as data."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.analysis.differences import Difference
from harness.analysis.sweeps import ClaimEntry, ContrastEntry, VariantEntry
from harness.analysis.table import Table, difference, judged
from harness.spec.claims import PUBLISHED


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
class ClaimResult:
    """A claim with what we measured for it; ``published`` are its rows of the papers' table."""

    claim: ClaimEntry
    pairs: tuple[Pair, ...]
    published: tuple[Mapping[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values, stable keys."""
        contrast = self.claim.contrast
        return {
            "id": self.claim.id,
            "expect": self.claim.expect,
            "benchmark": contrast.benchmark,
            "contrast": {factor: list(levels) for factor, levels in contrast.levels.items()},
            "where": dict(contrast.where),
            "pairs": [pair.to_json() for pair in self.pairs],
            "published": [dict(row) for row in self.published],
        }


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


def claim_results(table: Table) -> tuple[ClaimResult, ...]:
    """Every claim of the sweep with the differences measured for it."""
    published = _published(PUBLISHED)
    return tuple(
        ClaimResult(claim, _pairs(table, claim.contrast), published.get(claim.id, ())) for claim in table.sweep.claims
    )


def control_result(table: Table) -> ControlResult | None:
    """The sweep's positive control, if it has one."""
    control = table.sweep.control
    return ControlResult(control, _pairs(table, control)) if control is not None else None


def _pairs(table: Table, contrast: ContrastEntry) -> tuple[Pair, ...]:
    variants = {tuple(sorted(variant.levels.items())): variant for variant in table.sweep.variants}
    pairs = []
    for variant in table.sweep.variants:
        if not _is_start(variant, contrast):
            continue
        ends = {**variant.levels, **{factor: levels[1] for factor, levels in contrast.levels.items()}}
        other = variants.get(tuple(sorted(ends.items())))
        if other is not None:
            runs, others = table.row(other.name).runs, table.row(variant.name).runs
            found = difference(table.sweep, contrast.benchmark, [(1.0, runs), (-1.0, others)])
            power = table.power.get(contrast.benchmark)
            pairs.append(Pair(variant.name, other.name, judged(table.sweep, found, power)))
    return tuple(pairs)


def _is_start(variant: VariantEntry, contrast: ContrastEntry) -> bool:
    wanted = {**contrast.where, **{factor: levels[0] for factor, levels in contrast.levels.items()}}
    return all(variant.levels.get(factor) == level for factor, level in wanted.items())


@cache
def _published(path: Path) -> Mapping[str, tuple[Mapping[str, str], ...]]:
    """Rows of the claims' table by claim; empty where only the package is installed."""
    found: dict[str, tuple[Mapping[str, str], ...]] = {}
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                claim = row.get("claim_id") or ""
                found[claim] = (*found.get(claim, ()), {key: value or "" for key, value in row.items() if key})
    return found
