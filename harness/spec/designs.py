"""Which combinations of levels a sweep has: full, one factor at a time, or listed, cut and extended."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.spec import scalars
from harness.spec.factors import Factor, FactorSet
from harness.spec.place import Origins, Path
from harness.spec.report import Report, shown, suggestion
from harness.spec.schema.sweep import SweepKeys

MAX_VARIANTS = 20_000

Combination = tuple[int, ...]
"""One level of each factor, by position."""


@dataclass(frozen=True)
class Expansion:
    """All combinations in their order, and the one that the others are compared with."""

    combinations: tuple[Combination, ...]
    baseline: Combination


class PatternReader:
    """Reads mappings of factor to level (or levels), wherever a spec has them."""

    def __init__(self, factors: FactorSet, origins: Origins, report: Report) -> None:
        self.factors = factors
        self.origins = origins
        self.report = report

    def factor(self, name: str, path: Path) -> int | None:
        """The position of a factor; an unknown one is reported, one that an override removed is not."""
        position = self.factors.index.get(name)
        if position is None and name not in self.factors.broken | self.factors.overridden:
            remedy = suggestion(name, self.factors.index, "factors")
            self.report.add(f"there is no factor {shown(name)}", self.origins.key(path), path, remedy)
        return position

    def level(self, factor: Factor, value: Any, path: Path, lenient: bool = False) -> int | None:
        """The position of a level, given by its name or its value; an unknown one is reported.

        ``lenient``: not if an override changed the factor's levels.
        """
        name = scalars.name(value)
        position = factor.index.get(name) if name is not None else None
        if lenient and factor.name in self.factors.overridden:
            return position
        if position is None and factor.name not in self.factors.broken:
            message = f"the factor {factor.name} has no level {shown(value)}"
            is_number = isinstance(value, int | float)  # digits that look alike are no spelling of each other
            remedy = suggestion("" if is_number else name or "", factor.index, "levels")
            # A level that is wrong itself may be the one that is meant.
            own = [patch.value_place for level in factor.levels for patch in level.patches]
            self.report.add(message, self.origins.value(path), path, remedy, unless=own)
        return position

    def levels(self, pattern: Mapping[str, Any], path: Path, lenient: bool = False) -> tuple[dict[int, int], bool]:
        """A combination of some factors, as far as it could be read, and whether that is all of it."""
        found: dict[int, int] = {}
        for name, value in pattern.items():
            here = (*path, name)
            position = self.factor(name, here)
            if position is None:
                continue
            level = self.level(self.factors.factors[position], value, here, lenient)
            if level is not None:
                found[position] = level
        return found, len(found) == len(pattern)

    def sets(self, pattern: Mapping[str, Any], path: Path) -> dict[int, frozenset[int]] | None:
        """As :meth:`levels`, leniently, where a factor may have a list of levels; ``None`` if it matches nothing."""
        found: dict[int, frozenset[int]] = {}
        before = len(self.report)
        for name, value in pattern.items():
            here = (*path, name)
            position = self.factor(name, here)
            if position is None:
                return None
            factor = self.factors.factors[position]
            items = value if isinstance(value, list) else [value]
            paths = [(*here, number) if isinstance(value, list) else here for number in range(len(items))]
            chosen = [self.level(factor, item, where, lenient=True) for item, where in zip(items, paths, strict=True)]
            found[position] = frozenset(level for level in chosen if level is not None)
        return found if len(self.report) == before else None


def expand(keys: SweepKeys, factors: FactorSet, origins: Origins, report: Report) -> Expansion | None:
    """The combinations of a sweep, ``None`` where there can be none (reported)."""
    before = len(report)
    reader = PatternReader(factors, origins, report)
    start, _ = reader.levels(keys.baseline, ("baseline",))
    baseline = tuple(start.get(position, 0) for position in range(len(factors.factors)))
    designed = _designed(keys, factors, baseline, reader)
    if designed is None:
        return None
    if keys.design == "list" and not keys.baseline and designed:
        baseline = designed[0]
    kept = _excluded(keys, designed, reader)
    combinations = _included(keys, kept, baseline, reader)
    if not combinations and len(report) == before:
        report.add("no variant is left", origins.key(("exclude",)), "exclude", "exclude less, or include some")
    if not combinations:
        return None
    if baseline not in combinations and not factors.broken and len(report) == before:
        levels = ", ".join(f"{f.name}: {f.levels[i].name}" for f, i in zip(factors.factors, baseline, strict=True))
        key = next((key for key in ("baseline", "exclude", "design") if origins.exact((key,))), "factors")
        message = f"the baseline {{{levels}}} is not one of the variants"
        report.add(message, origins.key((key,)), "baseline", "set `baseline` to the levels of one of the variants")
    return Expansion(tuple(combinations), baseline)


def _designed(
    keys: SweepKeys, factors: FactorSet, baseline: Combination, reader: PatternReader
) -> list[Combination] | None:
    sizes = [range(len(factor.levels)) for factor in factors.factors]
    if keys.variants is not None and keys.design != "list":
        message = f"`variants` are read by `design: list` only, the design is {keys.design}"
        reader.report.add(
            message, reader.origins.key(("variants",)), "variants", "set `design: list`, or use `include`"
        )
    if keys.design == "list":
        if not keys.variants:
            place = reader.origins.key(("variants",) if keys.variants is not None else ("design",))
            reader.report.add(
                "`design: list` needs `variants`", place, "variants", "list them: variants: [{factor: level}, …]"
            )
            return None
        return _listed(keys.variants, "variants", baseline, [], reader)
    if keys.design == "one_factor":
        changed = [
            (*baseline[:position], level, *baseline[position + 1 :])
            for position, levels in enumerate(sizes)
            for level in levels
            if level != baseline[position]
        ]
        return [baseline, *changed]
    count = math.prod(len(levels) for levels in sizes)
    if count > MAX_VARIANTS:
        message = f"the full design has {shown(count)} variants, the limit is {MAX_VARIANTS:,}"
        place = reader.origins.key(("design",) if reader.origins.exact(("design",)) else ("factors",))
        reader.report.add(message, place, "design", "use `design: one_factor` or `list`, or fewer levels")
        return None
    return list(itertools.product(*sizes))


def _listed(
    entries: Sequence[Mapping[str, Any]],
    key: str,
    baseline: Combination,
    before: list[Combination],
    reader: PatternReader,
) -> list[Combination]:
    """``before`` and the listed combinations; factors that an entry leaves out stand at the baseline."""
    combinations = list(before)
    seen = set(before)
    for number, entry in enumerate(entries):
        path: Path = (key, number)
        chosen, is_whole = reader.levels(entry, path)
        if not is_whole:
            continue
        combination = tuple(chosen.get(position, level) for position, level in enumerate(baseline))
        if combination in seen:
            message = "this variant is there already (factors that are left out stand at the baseline)"
            reader.report.add(message, reader.origins.value(path), path, "remove it")
            continue
        seen.add(combination)
        combinations.append(combination)
    if len(combinations) > MAX_VARIANTS:
        message = f"{len(combinations):,} variants, the limit is {MAX_VARIANTS:,}"
        reader.report.add(message, reader.origins.key((key,)), key, "list fewer")
    return combinations


def _excluded(keys: SweepKeys, combinations: list[Combination], reader: PatternReader) -> list[Combination]:
    kept = combinations
    for number, entry in enumerate(keys.exclude):
        path: Path = ("exclude", number)
        place = reader.origins.value(path)
        pattern = reader.sets(entry, path)
        if pattern is None:
            continue
        if not pattern:
            reader.report.add("an empty pattern would exclude everything", place, path, "name factors and levels")
            continue

        def matches(combination: Combination, pattern: dict[int, frozenset[int]] = pattern) -> bool:
            return all(combination[position] in levels for position, levels in pattern.items())

        may_match_nothing = reader.factors.broken or reader.factors.overridden & entry.keys()
        if not may_match_nothing and not any(map(matches, combinations)):
            reader.report.add("excludes no variant of the design", place, path, "remove it, or check its levels")
        kept = [combination for combination in kept if not matches(combination)]
    return kept


def _included(
    keys: SweepKeys, combinations: list[Combination], baseline: Combination, reader: PatternReader
) -> list[Combination]:
    return _listed(keys.include, "include", baseline, combinations, reader) if keys.include else combinations
