"""Overrides of keys that every variant has from a level of one factor: they would change nothing, without a word."""

from __future__ import annotations

from collections.abc import Sequence

from harness.spec.compose import Composition
from harness.spec.designs import Combination
from harness.spec.factors import Factor, Patch
from harness.spec.place import Path, dotted
from harness.spec.report import Report


def check_overrides(
    composition: Composition, factors: Sequence[Factor], combinations: Sequence[Combination], report: Report
) -> None:
    """Report the overrides that all levels of a factor write over; of the levels, those that some variant has."""
    for path, place in composition.overridden_keys():
        for position, factor in enumerate(factors):
            used = {combination[position] for combination in combinations}
            if all(any(_writes(patch, path) for patch in factor.levels[n].patches) for n in used):
                where = f" (line {factor.place.line})" if factor.place.line else ""
                message = f"without effect: every level of the factor {factor.name}{where} sets this key"
                remedy = f"change factors.{factor.name}.levels, or remove the factor with factors.{factor.name}=null"
                report.add(message, place, dotted(path), remedy)


def _writes(patch: Patch, path: Path) -> bool:
    """Whether a level's patch decides what stands at ``path``: mappings are merged, everything else replaces."""
    if path[: len(patch.path)] != patch.path:
        return False
    value = patch.value
    for segment in path[len(patch.path) :]:
        if not isinstance(value, dict):
            return True
        if segment not in value:
            return False
        value = value[segment]
    return True
