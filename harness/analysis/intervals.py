"""Means with intervals. Sums are exact (``fsum``), so the same scores give the same digits on every machine.

Two kinds of uncertainty are kept apart. Over *seeds*: the mean of every seed is one observation, and the interval is
Student's t over them. Over *samples*, for one trained model: samples that share an image are one cluster, and the
interval is Student's t with the cluster-robust variance (Liang & Zeger 1986; Miller 2024, arXiv 2411.00640, section
2.2) and clusters − 1 degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum, nan, sqrt


@dataclass(frozen=True)
class Interval:
    """A mean with its interval; ``None`` for bounds that the data cannot give (a single cluster)."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Sample:
    """Values of one benchmark with the cluster of each, and the scale [``lowest``, ``highest``] they lie on."""

    values: Sequence[float]
    clusters: Sequence[str]
    lowest: float
    highest: float

    @property
    def mean(self) -> float:
        """The mean of the values."""
        return mean(self.values)

    @property
    def is_unvaried(self) -> bool:
        """Whether all values are one."""
        return min(self.values) == max(self.values)


def mean(values: Sequence[float]) -> float:
    """The exactly rounded mean; of nothing, NaN."""
    return fsum(values) / len(values) if values else nan


def t_interval(values: Sequence[float], confidence: float) -> Interval:
    """Student's t interval of the mean of independent values, such as the means of seeds."""
    count, middle = len(values), mean(values)
    if count < 2:
        return Interval(middle, None, None)
    variance = fsum((value - middle) ** 2 for value in values) / (count - 1)
    return _around(middle, variance / count, count - 1, confidence)


def clustered_interval(benchmarks: Sequence[Sample], confidence: float) -> Interval:
    """The plain mean of the benchmarks' means; clusters may reach over benchmarks that ask about the same images.

    Where no value differs from its benchmark's mean the sample says nothing about the variance, and an interval of
    width zero would be a lie (0 of 200 right is compatible with 1 %). Then the interval holds all means that would
    show nothing but this value in so many clusters with at least the probability in question: with q the share of
    other values, (1 − q)^clusters ≥ (1 − confidence) / 2 (Clopper & Pearson 1934 for shares).
    """
    middle = mean([sample.mean for sample in benchmarks])
    residuals: dict[str, list[float]] = {}
    for sample in benchmarks:
        center, weight = sample.mean, 1.0 / (len(sample.values) * len(benchmarks))
        for value, cluster in zip(sample.values, sample.clusters, strict=True):
            residuals.setdefault(cluster, []).append(weight * (value - center))
    count = len(residuals)
    if all(sample.is_unvaried for sample in benchmarks):
        return _unvaried(benchmarks, middle, count, confidence)
    if count < 2:
        return Interval(middle, None, None)
    squares = fsum(fsum(parts) ** 2 for parts in residuals.values())
    return _around(middle, squares * count / (count - 1), count - 1, confidence)


def seeds_interval(seeds: Mapping[int, Sequence[Sample]], confidence: float) -> Interval:
    """The interval of the mean over training seeds, each with its benchmarks.

    With one seed it is that of the samples, and conditional on the trained model. So it is when the means of all seeds
    are equal to the last bit: with few seeds and a few hundred samples that happens by chance, and a t interval would
    have no width.
    """
    means = [mean([sample.mean for sample in benchmarks]) for benchmarks in seeds.values()]
    if len(set(means)) > 1:
        return t_interval(means, confidence)
    return clustered_interval(_averaged(list(seeds.values())), confidence)


def t_quantile(probability: float, degrees: float) -> float:
    """The quantile of Student's t distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def _around(middle: float, variance: float, degrees: int, confidence: float) -> Interval:
    reach = t_quantile(0.5 + confidence / 2, degrees) * sqrt(variance)
    return Interval(middle, middle - reach, middle + reach)


def _unvaried(benchmarks: Sequence[Sample], middle: float, count: int, confidence: float) -> Interval:
    other = 1.0 - ((1.0 - confidence) / 2) ** (1.0 / count)
    low = mean([sample.mean - other * (sample.mean - sample.lowest) for sample in benchmarks])
    high = mean([sample.mean + other * (sample.highest - sample.mean) for sample in benchmarks])
    return Interval(middle, low, high)


def _averaged(seeds: Sequence[Sequence[Sample]]) -> list[Sample]:
    """Each sample's mean over seeds; the samples must be the same ones in the same order."""
    if len(seeds) == 1:
        return list(seeds[0])
    averaged = []
    for same in zip(*seeds, strict=True):
        values = [mean(values) for values in zip(*(sample.values for sample in same), strict=True)]
        averaged.append(Sample(values, same[0].clusters, same[0].lowest, same[0].highest))
    return averaged
