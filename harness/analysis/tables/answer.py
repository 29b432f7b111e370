"""Which one should I take, and how sure am I?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from harness.analysis.statistics.differences import Difference
from harness.analysis.statistics.verdicts import holm
from harness.analysis.tables.table import Row, Table, difference, judged

MOST_VARIANTS = 50
"""With more, the pairs to correct for are so many that nothing would be decided."""

CHEAPER = 0.95
"""Share of the best one's training FLOPs from which on another is worth calling cheaper."""


@dataclass(frozen=True)
class Rival:
    """Another variant, and the best one minus it, corrected for all pairs of variants."""

    row: Row
    difference: Difference


@dataclass(frozen=True)
class Answer:
    """The variant with the highest primary score, and who is told apart from it.

    The best one was chosen by the same scores, so every pair of variants counts as a test (Holm), not only those with
    it. ``behind`` are worse, ``equal`` as good within the smallest effect that matters, ``unsettled`` neither shown;
    ``cheapest`` of the equal and the unsettled takes the fewest training FLOPs; the best one where none saves any.
    """

    best: Row
    behind: tuple[Rival, ...]
    equal: tuple[Rival, ...]
    unsettled: tuple[Rival, ...]
    pairs: int
    cheapest: Row

    def to_json(self) -> dict[str, Any]:
        """JSON values, stable keys."""
        groups = {"behind": self.behind, "equal": self.equal, "unsettled": self.unsettled}
        return {
            "best": self.best.variant.name,
            "pairs": self.pairs,
            **{
                name: [{"variant": r.row.variant.name, **r.difference.to_json()} for r in rivals]
                for name, rivals in groups.items()
            },
            "cheapest": self.cheapest.variant.name,
        }


def answer(table: Table) -> Answer | None:
    """The answer as far as it goes; ``None`` with less than two variants that have a score, or far too many."""
    sweep, key = table.sweep, table.sweep.primary
    rows = [row for row in table.rows if row.scores.get(key) is not None]
    if not 2 <= len(rows) <= MOST_VARIANTS:
        return None
    best = max(rows, key=lambda row: _score(row, key))
    pairs = [(best, row) for row in rows if row is not best]
    pairs += list(combinations([row for row in rows if row is not best], 2))
    found = [difference(sweep, key, [(1.0, one.runs), (-1.0, two.runs)]) for one, two in pairs]
    adjusted = _holm([each.p for each in found])
    rivals = [
        Rival(row, judged(sweep, each, table.deviation(key), p, len(pairs)))
        for (_, row), each, p in zip(pairs[: len(rows) - 1], found, adjusted, strict=False)
    ]

    def those(*verdicts: str | None) -> tuple[Rival, ...]:
        return tuple(rival for rival in rivals if rival.difference.verdict in verdicts)

    equal, unsettled = those("equivalent"), those("inconclusive", "worse", None)
    cheapest = min((rival.row for rival in (*equal, *unsettled)), key=lambda row: row.train_flops, default=best)
    if cheapest.train_flops > CHEAPER * best.train_flops:
        cheapest = best
    return Answer(best, those("better"), equal, unsettled, len(pairs), cheapest)


def _score(row: Row, key: str) -> float:
    score = row.scores[key]
    assert score is not None
    return score.interval.mean


def _holm(probabilities: Sequence[float | None]) -> list[float | None]:
    known = iter(holm([p for p in probabilities if p is not None]))
    return [None if p is None else next(known) for p in probabilities]
