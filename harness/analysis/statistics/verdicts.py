"""From an interval and a probability to a word: better, worse, equivalent, inconclusive."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np

from harness.analysis.samples.values import Points
from harness.analysis.statistics.intervals import Interval

Verdict = Literal["better", "worse", "equivalent", "inconclusive"]

_DRAWS = 40_000


def judge(interval: Interval, p: float | None, min_effect: float, confidence: float) -> Verdict:
    """The verdict on a difference; ``p`` is its probability after correction for the family.

    *Equivalent* when the whole interval lies within ± ``min_effect``, even if it excludes 0: such a difference does not
    matter. Else *better* or *worse* when the corrected test rejects 0.
    """
    low, high = interval.low, interval.high
    if low is not None and high is not None and -min_effect < low and high < min_effect:
        return "equivalent"
    if p is not None and p < 1.0 - confidence and interval.mean != 0.0:
        return "better" if interval.mean > 0 else "worse"
    return "inconclusive"


def holm(probabilities: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted probabilities, in order: they hold the family-wise error whatever the dependence."""
    adjusted = [0.0] * len(probabilities)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(probabilities)), key=lambda i: probabilities[i])):
        largest = max(largest, min(1.0, (len(probabilities) - rank) * probabilities[index]))
        adjusted[index] = largest
    return adjusted


def max_t(statistics: Sequence[float], weights: Sequence[Sequence[float]], seeds: int) -> list[float]:
    """Step-down max-T probabilities (Westfall & Young 1993) of contrasts that share variants, over the same seeds.

    ``weights`` [contrast, variant] say how each contrast weighs the variants: that is what makes them correlated. The
    null distribution is simulated for normal errors of equal variance, which a difference of variants keeps once the
    seed's own effect has cancelled; always the same 40,000 draws. Sharper than Holm where many variants are compared
    with one baseline; see docs/calibration.md for how well it holds.
    """
    order = sorted(range(len(statistics)), key=lambda i: -abs(statistics[i]))
    drawn = _null(tuple(map(tuple, weights)), seeds)
    highest = np.zeros(drawn.shape[1])  # of this contrast and those with smaller statistics
    found: dict[int, float] = {}
    for index in reversed(order):
        np.maximum(highest, drawn[index], out=highest)
        exceeding = int(np.count_nonzero(highest >= abs(statistics[index])))
        found[index] = (1 + exceeding) / (1 + len(highest))
    adjusted, largest = [0.0] * len(statistics), 0.0
    for index in order:
        adjusted[index] = largest = max(largest, found[index])
    return adjusted


@lru_cache(maxsize=16)
def _null(weights: tuple[tuple[float, ...], ...], seeds: int) -> Points:
    """|t| [contrast, draw] of every contrast when no variant differs."""
    generator = np.random.Generator(np.random.PCG64(0))
    total = np.zeros((len(weights), _DRAWS))
    squares = np.zeros_like(total)
    for _ in range(seeds):
        variants = np.ascontiguousarray(generator.standard_normal((_DRAWS, len(weights[0]))).T)
        for row, contrast in enumerate(weights):
            values = np.zeros(_DRAWS)
            for weight, each in zip(contrast, variants, strict=True):
                if weight:  # one after the other, not as a matrix product: that differs from processor to processor
                    values += weight * each
            total[row] += values
            squares[row] += values * values
    variance = (squares - total * total / seeds) / (seeds - 1)
    statistics: Points = np.abs(total / seeds) / np.sqrt(variance / seeds)
    return statistics
