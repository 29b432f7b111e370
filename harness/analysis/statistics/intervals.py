"""Means with intervals, from seeds or from samples.

Two kinds of uncertainty are kept apart. Over *seeds*: the mean of every seed is one observation, and the interval is
Student's t over them; it speaks of another training run, on the same questions. Over *samples*, for models that are
there: samples that share an image or a set of demonstrations are not independent. The variance is that of two-way
clusters (Cameron, Gelbach & Miller 2011, equation 2.11), the degrees of freedom are Satterthwaite's (1946) for its
terms; sets belong to one benchmark and count there, images may reach over several. With eight sets of demonstrations a
benchmark this covers 94 to 96 % of simulated truths, whether the sets matter or not (docs/calibration.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import fsum, sqrt

import numpy as np

from harness.analysis.samples.questions import Codes, clusters
from harness.analysis.samples.values import SAME, Points, Sample, mean, vary

FLOOR = 0.5
"""Share of the images' part of the variance below which the estimate of two-way clusters is not believed."""


@dataclass(frozen=True)
class Interval:
    """A mean with its interval; ``None`` for bounds that the data cannot give (a single seed, a single cluster).

    ``error`` is the standard error and ``degrees`` are those of its t distribution, where the interval is one of
    Student's; ``exact`` is the probability of the test that belongs to an interval which is not.
    """

    mean: float
    low: float | None
    high: float | None
    error: float | None = None
    degrees: float | None = None
    exact: float | None = None

    @property
    def p(self) -> float | None:
        """Of the two-sided test that the mean is 0, which the interval leaves out when p < 1 − confidence."""
        if self.error is None or self.degrees is None:
            return self.exact
        if self.error == 0.0:
            return 1.0 if self.mean == 0.0 else 0.0
        return t_probability(self.mean / self.error, self.degrees)


def t_interval(values: Sequence[float], confidence: float) -> Interval:
    """Student's t interval of the mean of independent values, such as the means of seeds."""
    count, middle = len(values), mean(values)
    if count < 2:
        return Interval(middle, None, None)
    variance = fsum((value - middle) ** 2 for value in values) / (count - 1)
    return around(middle, variance / count, count - 1, confidence)


def clustered_interval(benchmarks: Sequence[Sample], confidence: float) -> Interval:
    """The plain mean of the benchmarks' means; an image may reach over benchmarks that ask about it.

    Where no value differs from its benchmark's mean, or no cluster does, the sample says nothing about the variance,
    and an interval of width zero would be a lie (0 of 200 right is compatible with 1 %). Then the interval holds all
    means that would show nothing but this value in so many images with at least the probability in question: with q
    the share of other values, (1 − q)^images ≥ (1 − confidence) / 2 (Clopper & Pearson 1934 for shares).
    """
    middle = mean([sample.mean for sample in benchmarks])
    groups = clusters(tuple(sample.questions for sample in benchmarks))
    images = groups.counts[0]
    if all(sample.is_unvaried for sample in benchmarks):
        return _unvaried(benchmarks, middle, images, confidence)
    if images < 2:
        return Interval(middle, None, None)
    residuals = np.concatenate(
        [(sample.values - sample.mean) / (len(sample.values) * len(benchmarks)) for sample in benchmarks]
    )
    by_image = _squares(residuals, groups.images, images)
    variance, begin = by_image, 0
    # The doubts are half the variances of the terms. Pairs lie within images, so what the images' term has beyond the
    # pairs' is uncorrelated with it, and the doubt about their difference is the difference of the doubts.
    by_images, by_sets = by_image**2 / (images - 1), 0.0
    for sample in benchmarks:  # each has demonstration sets of its own, and its own mean: a degree of freedom less each
        own, part = clusters((sample.questions,)), residuals[begin : begin + len(sample.values)]
        begin += len(part)
        _, sets, pairs = own.counts
        if sets > 1:
            by_set, by_pair = _squares(part, own.sets, sets), _squares(part, own.pairs, pairs)
            variance += by_set - by_pair
            by_sets += by_set**2 / (sets - 1)
            by_images -= by_pair**2 / (pairs - 1)
    doubt = max(by_images, 0.0) + by_sets
    # The sum can come out near zero or negative by chance. Where sets do not matter the floor is met once in six times.
    variance = max(variance, by_image * FLOOR)
    if variance <= SAME**2:
        return _unvaried(benchmarks, middle, images, confidence)
    degrees = min(max(variance**2 / doubt, 1.0), images - 1.0) if doubt > 0.0 else images - 1.0
    return around(middle, variance, degrees, confidence)


def seeds_interval(seeds: Mapping[int, Sequence[Sample]], confidence: float) -> Interval:
    """The interval of the mean over training seeds, each with its benchmarks.

    With one seed it is that of the samples, and conditional on the trained model. So it is when the means of all seeds
    are equal: with few seeds and a few hundred samples that happens by chance, and a t interval would
    have no width.
    """
    means = [mean([sample.mean for sample in benchmarks]) for benchmarks in seeds.values()]
    if vary(means):
        return t_interval(means, confidence)
    return clustered_interval(averaged(list(seeds.values())), confidence)


def around(middle: float, variance: float, degrees: float, confidence: float) -> Interval:
    """Student's interval around a mean with this variance."""
    error = sqrt(variance)
    reach = t_quantile(0.5 + confidence / 2, degrees) * error
    return Interval(middle, middle - reach, middle + reach, error, degrees)


@lru_cache(maxsize=65536)
def t_quantile(probability: float, degrees: float) -> float:
    """The quantile of Student's t distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def t_probability(statistic: float, degrees: float) -> float:
    """The two-sided probability of a t statistic at least as large."""
    from scipy.special import stdtr

    return float(2.0 * stdtr(degrees, -abs(statistic)))


def _squares(residuals: Points, codes: Codes, count: int) -> float:
    sums = np.bincount(codes, residuals, count)
    return float(np.cumsum(sums * sums)[-1]) * count / (count - 1)


def _unvaried(benchmarks: Sequence[Sample], middle: float, count: int, confidence: float) -> Interval:
    other = 1.0 - ((1.0 - confidence) / 2) ** (1.0 / count)
    low = mean([sample.mean - other * (sample.mean - sample.lowest) for sample in benchmarks])
    high = mean([sample.mean + other * (sample.highest - sample.mean) for sample in benchmarks])
    # The share of other values, at the far end of the scale, with which the mean would be 0.
    ends = [sample.lowest if middle > 0 else sample.highest for sample in benchmarks]
    room = mean([sample.mean - end for sample, end in zip(benchmarks, ends, strict=True)])
    share = min(1.0, middle / room) if room else 0.0
    return Interval(middle, low, high, exact=min(1.0, 2.0 * (1.0 - share) ** count))


def averaged(seeds: Sequence[Sequence[Sample]]) -> list[Sample]:
    """Each sample's mean over seeds; the samples must be the same ones in the same order."""
    if len(seeds) == 1:
        return list(seeds[0])
    found = []
    for same in zip(*seeds, strict=True):
        values = np.cumsum([sample.values for sample in same], axis=0)[-1] / len(same)
        found.append(Sample(values, same[0].questions, same[0].lowest, same[0].highest))
    return found
