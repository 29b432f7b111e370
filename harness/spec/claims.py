"""Claims of the literature and the positive control, bound to contrasts of a sweep."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from harness.spec.compose import Composition
from harness.spec.designs import Combination, PatternReader
from harness.spec.messages import add_violations, at
from harness.spec.place import Path
from harness.spec.report import shown, suggestion
from harness.spec.schema.sweep import ClaimKeys, PositiveControlKeys, SweepKeys

PUBLISHED = FilePath(__file__).parents[2] / "results" / "published" / "claims.csv"
"""The table of published claims; there in a checkout, absent where only the package is installed."""


@dataclass(frozen=True)
class Contrast:
    """The second level of each factor against the first, all else equal, over the variants that ``where`` picks."""

    levels: Mapping[str, tuple[str, str]]
    where: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """A published claim, bound to a contrast of ours.

    ``expect`` is what it says of the second levels against the first: ``better``, ``worse`` or ``equivalent``;
    ``benchmark`` is the score it speaks of, a task or ``mean``.
    """

    id: str
    contrast: Contrast
    expect: str
    benchmark: str


@dataclass(frozen=True)
class PositiveControl:
    """A contrast that has to be decided (the second levels better), or the sweep can show nothing; on ``benchmark``."""

    contrast: Contrast
    benchmark: str


@dataclass(frozen=True)
class Bound:
    """What a sweep is to be held against; ``notes`` say what an override has made untestable."""

    claims: tuple[Claim, ...] = ()
    control: PositiveControl | None = None
    notes: tuple[str, ...] = ()


def read_claims(
    keys: SweepKeys,
    composition: Composition,
    combinations: Sequence[Combination],
    benchmarks: Sequence[str],
    reader: PatternReader,
) -> Bound:
    """The claims and the control of a sweep; what does not fit its factors, variants and tasks is reported.

    Unless an override is why it does not fit: a claim that a smaller run cannot express is left out with a note.
    """
    binder = _Binder(composition, frozenset(combinations), benchmarks, keys.analysis.primary, reader)
    claims, notes = [], []
    published = _published()
    for number, raw in enumerate(keys.claims):
        path: Path = ("claims", number)
        try:
            written = ClaimKeys.model_validate(raw)
        except ValidationError as error:
            add_violations(reader.report, error, path, at(reader.origins))
            continue
        if published is not None and written.id not in published:
            here = (*path, "id")
            message = f"there is no claim {shown(written.id)}"
            reader.report.add(message, reader.origins.value(here), here, suggestion(written.id, published, "claims"))
        bound = binder.bind(written, path)
        if bound is not None:
            claims.append(Claim(written.id, bound[0], written.expect, bound[1]))
        else:
            notes.append(f"the claim {written.id} cannot be tested: an override took away what it contrasts")
    control = None
    if keys.positive_control is not None:
        bound = binder.bind(keys.positive_control, ("positive_control",))
        if bound is not None:
            control = PositiveControl(*bound)
        else:
            notes.append("there is no positive control: an override took away what it contrasts")
    return Bound(tuple(claims), control, tuple(notes))


def check_score(name: str, benchmarks: Sequence[str], path: Path, reader: PatternReader) -> None:
    """Report a score that the sweep does not measure."""
    if name not in benchmarks:
        message = f"the sweep has no score {shown(name)}"
        reader.report.add(message, reader.origins.value(path), path, suggestion(name, benchmarks, "scores"))


@cache
def _published() -> frozenset[str] | None:
    if not PUBLISHED.is_file():
        return None
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        return frozenset(row.get("claim_id", "") for row in csv.DictReader(file))


@dataclass(frozen=True)
class _Binder:
    """Reads contrasts; ``None`` instead of a contrast is reported, or else an override's doing."""

    composition: Composition
    combinations: frozenset[Combination]
    benchmarks: Sequence[str]
    primary: str
    reader: PatternReader

    def bind(self, keys: ClaimKeys | PositiveControlKeys, path: Path) -> tuple[Contrast, str] | None:
        report, origins = self.reader.report, self.reader.origins
        before = len(report)
        where, is_whole = self.reader.levels(keys.where, (*path, "where"), lenient=True)
        if not keys.contrast:
            here = (*path, "contrast")
            report.add("the contrast is empty", origins.value(here), here, "write contrast: {factor: [from, to]}")
        pairs: dict[int, tuple[int, int]] = {}
        for name, value in keys.contrast.items():
            pair = self._pair(name, value, (*path, "contrast", name))
            if pair is not None:
                pairs[pair[0]] = pair[1]
        for position in pairs.keys() & where.keys():
            here = (*path, "where", self.reader.factors.factors[position].name)
            message = f"the factor {here[-1]} is contrasted and fixed at once"
            report.add(message, origins.key(here), here, "remove it from `where`")
        has_score = keys.benchmark is None or keys.benchmark in self.benchmarks
        if keys.benchmark is not None and not self.composition.is_overridden(("evaluation",)):
            check_score(keys.benchmark, self.benchmarks, (*path, "benchmark"), self.reader)
        if len(report) > before or not is_whole or not has_score or len(pairs) < len(keys.contrast):
            return None
        if not self._has_pair(pairs, where):
            if not self._is_design_overridden():
                here = (*path, "contrast")
                remedy = "contrast levels that the design has together, or include the variants that are missing"
                report.add("no two variants differ in this contrast alone", origins.value(here), here, remedy)
            return None
        factors = self.reader.factors.factors
        levels = {
            factors[f].name: (factors[f].levels[a].name, factors[f].levels[b].name) for f, (a, b) in pairs.items()
        }
        fixed = {factors[f].name: factors[f].levels[level].name for f, level in where.items()}
        return Contrast(levels, fixed), keys.benchmark or self.primary

    def _is_design_overridden(self) -> bool:
        keys = ("factors", "design", "variants", "include", "exclude", "baseline")
        return any(self.composition.is_overridden((key,)) for key in keys)

    def _pair(self, name: str, value: Any, path: Path) -> tuple[int, tuple[int, int]] | None:
        position = self.reader.factor(name, path)
        if position is None:
            return None
        report, origins = self.reader.report, self.reader.origins
        if not isinstance(value, list) or len(value) != 2:
            message = f"a contrast is a pair of levels [from, to], found {shown(value)}"
            report.add(message, origins.value(path), path, f"write {name}: [from, to]")
            return None
        factor = self.reader.factors.factors[position]
        first, second = (self.reader.level(factor, item, (*path, n), lenient=True) for n, item in enumerate(value))
        if first is None or second is None:
            return None
        if first == second:
            message = "the two levels of a contrast have to differ"
            report.add(message, origins.value(path), path, f"levels: {', '.join(factor.index)}")
            return None
        return position, (first, second)

    def _has_pair(self, pairs: Mapping[int, tuple[int, int]], where: Mapping[int, int]) -> bool:
        """Whether two variants differ in the contrast alone."""
        start = {f: first for f, (first, _) in pairs.items()} | dict(where)
        for combination in self.combinations:
            if all(combination[f] == level for f, level in start.items()):
                other = tuple(pairs[f][1] if f in pairs else level for f, level in enumerate(combination))
                if other in self.combinations:
                    return True
        return False
