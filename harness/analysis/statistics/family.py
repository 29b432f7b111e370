"""One probability for each of several tests that were declared together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from harness.analysis.statistics.differences import Difference
from harness.analysis.statistics.verdicts import holm, max_t

Correction = Literal["holm", "max-t", "none"]


def correct(found: Sequence[Difference], correction: Correction) -> list[float | None]:
    """Adjusted probabilities of differences to one baseline, in order; ``None`` where there is no test.

    Max-T needs all of them over the same number of seeds, at least two; else Holm's is taken, which is never sharper.
    """
    tested = [index for index, each in enumerate(found) if each.p is not None]
    adjusted: list[float | None] = [None] * len(found)
    probabilities = [p for each in found if (p := each.p) is not None]
    if correction == "none":
        corrected = probabilities
    elif correction == "max-t" and (seeds := _common_seeds([found[index] for index in tested])):
        weights = [[float(row == column) for column in range(len(tested))] + [-1.0] for row in range(len(tested))]
        corrected = max_t([_statistic(found[index]) for index in tested], weights, seeds)
    else:
        corrected = holm(probabilities)
    for index, p in zip(tested, corrected, strict=True):
        adjusted[index] = p
    return adjusted


def _common_seeds(found: Sequence[Difference]) -> int:
    """The number of seeds, if it is one for all and the tests are over seeds; else 0."""
    counts = {each.seeds if each.basis == "seeds" else 0 for each in found}
    return counts.pop() if len(counts) == 1 else 0


def _statistic(found: Difference) -> float:
    interval = found.interval
    assert interval is not None
    return interval.mean / interval.error if interval.error else float("inf")
