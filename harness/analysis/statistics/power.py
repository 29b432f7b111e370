"""What a design can detect, and what would decide: before anything is spent, and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import fsum, sqrt

from harness.analysis.samples.values import mean
from harness.analysis.statistics.intervals import t_quantile

MOST_SEEDS = 1000
"""More would never be run; asked for more, the answer is none."""


@dataclass(frozen=True)
class Noise:
    """The standard deviation of a quantity from seed to seed, with the degrees of freedom it was measured with."""

    deviation: float
    degrees: int


def pooled_noise(groups: Sequence[Sequence[float]]) -> Noise | None:
    """The deviation within groups, such as the seeds of each variant; ``None`` where no group has two values."""
    squares = [fsum((value - mean(group)) ** 2 for value in group) for group in groups if len(group) > 1]
    degrees = sum(len(group) - 1 for group in groups if len(group) > 1)
    return Noise(sqrt(fsum(squares) / degrees), degrees) if degrees else None


def detectable(deviation: float, seeds: int, confidence: float, power: float) -> float | None:
    """The smallest true difference that a two-sided t test over ``seeds`` finds with probability ``power``.

    ``deviation`` is that of the paired difference from seed to seed. ``None`` for one seed, which cannot test.
    """
    return deviation * _in_deviations(seeds, confidence, power) if seeds > 1 else None


def seeds_to_detect(effect: float, deviation: float, confidence: float, power: float) -> int | None:
    """The fewest seeds with which a true difference of this size is found; ``None`` above ``MOST_SEEDS``."""
    if deviation == 0.0:
        return 2 if effect else None
    return _fewest(lambda seeds: deviation * _in_deviations(seeds, confidence, power) <= abs(effect))


def seeds_to_equate(effect: float, bound: float, deviation: float, confidence: float, power: float) -> int | None:
    """The fewest seeds with which the interval lies within ± ``bound`` with probability about ``power``."""
    room = bound - abs(effect)
    if room <= 0:
        return None

    def suffices(seeds: int) -> bool:
        reach = t_quantile(0.5 + confidence / 2, seeds - 1) + t_quantile(0.5 + power / 2, seeds - 1)
        return deviation / sqrt(seeds) * reach <= room

    return _fewest(suffices)


def seeds_to_decide(
    effect: float,
    deviation: float,
    min_effect: float,
    confidence: float,
    power: float,
    undecided: int = 0,
    tests: int = 1,
) -> int | None:
    """The fewest seeds that would decide, either way, if the difference stays what it is; more than ``undecided``,
    with which it was not. It is detected as one of ``tests`` (Bonferroni); equivalence asks for the interval alone.
    """
    found = [
        seeds_to_detect(effect, deviation, 1.0 - (1.0 - confidence) / tests, power),
        seeds_to_equate(effect, min_effect, deviation, confidence, power),
    ]
    return min((max(seeds, undecided + 1) for seeds in found if seeds is not None), default=None)


def _fewest(suffices: Callable[[int], bool]) -> int | None:
    if not suffices(MOST_SEEDS):
        return None
    low, high = 1, MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


@lru_cache(maxsize=4096)
def _in_deviations(seeds: int, confidence: float, power: float) -> float:
    """The detectable effect in deviations of the paired difference, from the noncentral t distribution."""
    # scipy.special and a bisection: scipy.stats and scipy.optimize take longer to import than a table takes to make.
    from scipy.special import nctdtr

    degrees = seeds - 1
    critical = t_quantile(0.5 + confidence / 2, degrees)

    def is_found(shift: float) -> bool:
        return 1.0 - float(nctdtr(degrees, shift, critical)) >= power  # with the right sign

    low, high = 0.0, critical + 2.0
    while not is_found(high):
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high / sqrt(seeds)
