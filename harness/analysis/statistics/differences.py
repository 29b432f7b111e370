"""Linear contrasts of variants: the paired difference of two, a main effect, an interaction, all by the same rule.

Values are combined sample by sample, so that what makes a question hard cancels. Over several seeds each seed's mean is
one observation; where two variants were not trained with the same seeds a mixed model takes all that are there. With
one seed the interval is that of the samples, and speaks of these trained models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum, sqrt
from typing import Any, Literal

import numpy as np

from harness.analysis.samples.scored import Scored, check_all
from harness.analysis.samples.scores import Incomparable, TaskScores
from harness.analysis.samples.values import Points, Sample, vary
from harness.analysis.statistics.intervals import (
    Interval,
    averaged,
    clustered_interval,
    t_interval,
    t_probability,
    t_quantile,
)
from harness.analysis.statistics.mixed import difference_interval
from harness.analysis.statistics.power import Noise
from harness.analysis.statistics.verdicts import Verdict

Basis = Literal["seeds", "mixed", "samples", ""]
DIGITS = 6  # of points in JSON: far below any meaning, far above rounding


@dataclass(frozen=True)
class Difference:
    """A paired difference in points; without an ``interval``, ``reason`` says why there is none.

    ``basis``: whether the interval comes from seeds (Student's t over them), from a mixed model of unequal seeds, or
    from the samples of one trained model each. ``deviation`` is the standard deviation from seed to seed, measured
    here; ``floor`` the smallest half-width that the known seed noise allows, for one seed. ``adjusted`` is the
    probability after correction, ``verdict`` follows from it, ``seeds_to_decide`` says what would decide an
    inconclusive one.
    """

    interval: Interval | None
    seeds: int = 0
    reason: str = ""
    basis: Basis = ""
    deviation: float | None = None
    floor: float | None = None
    p: float | None = None
    adjusted: float | None = None
    verdict: Verdict | None = None
    seeds_to_decide: int | None = None

    @property
    def judged(self) -> Interval | None:
        """The interval that verdicts are about: never narrower than the seed noise allows."""
        found = self.interval
        if found is None or self.floor is None or found.low is None or found.high is None:
            return found
        reach = max(self.floor, (found.high - found.low) / 2)
        return replace(found, low=found.mean - reach, high=found.mean + reach)

    def to_json(self) -> dict[str, Any]:
        """JSON values, stable keys."""
        return {
            **interval_json(self.interval),
            "seeds": self.seeds,
            "reason": self.reason,
            "basis": self.basis,
            "deviation": rounded(self.deviation),
            "floor": rounded(self.floor),
            "p": self.p,
            "p_adjusted": self.adjusted,
            "verdict": self.verdict,
            "seeds_to_decide": self.seeds_to_decide,
        }


def contrast(terms: Sequence[tuple[float, Scored]], confidence: float, noise: Noise | None = None) -> Difference:
    """The weighted sum of variants' scores, averaged over benchmarks, over the seeds that all of them have.

    ``terms``: a weight and the scores of a variant each, for the same benchmarks in the same order. ``noise`` is the
    known deviation of one run's score from seed to seed. Scores that were not asked the same are refused.
    """
    common = list(terms[0][1])
    for _, found in terms[1:]:
        if found.keys() != terms[0][1].keys():
            common = [seed for seed in common if seed in found]
    unequal = len(terms) == 2 and terms[0][0] == -terms[1][0] and terms[0][1].keys() != terms[1][1].keys()
    if not all(found for _, found in terms) or not (common or unequal):
        return Difference(None, reason="no seed has both scores")
    try:
        check_all([found for _, found in terms])
    except Incomparable as error:
        return Difference(None, reason=f"not comparable: {error}")
    weights = [weight for weight, _ in terms]
    if unequal and len(terms[0][1]) + len(terms[1][1]) > 2:
        means = [{seed: weights[0] * value for seed, value in found.means.items()} for _, found in terms]
        interval = difference_interval(means[0], means[1], confidence)
        if interval.low is not None or not common:
            return Difference(interval, len(common), "", "mixed", p=interval.p)
    if not common:
        return Difference(None, reason="no seed has both scores")
    if len(common) > 1:
        sides = [(weight, found.means) for weight, found in terms]
        values = [fsum([weight * means[seed] for weight, means in sides]) for seed in common]
        if vary(values):
            return over_seeds(values, confidence)
    samples = [_combined(weights, [found[seed] for _, found in terms]) for seed in common]
    interval = clustered_interval(averaged(samples), confidence)
    return _with_floor(Difference(interval, len(common), "", "samples", p=interval.p), weights, confidence, noise)


def over_seeds(values: Sequence[float], confidence: float) -> Difference:
    """The difference from its value for each of several seeds, which must not all be the same."""
    interval = t_interval(values, confidence)
    deviation = interval.error * sqrt(len(values)) if interval.error is not None else None
    return Difference(interval, len(values), "", "seeds", deviation, p=interval.p)


def _with_floor(found: Difference, weights: Sequence[float], confidence: float, noise: Noise | None) -> Difference:
    if noise is None or found.interval is None or noise.deviation == 0.0:
        return found
    error = noise.deviation * sqrt(fsum(weight * weight for weight in weights) / found.seeds)
    # Where the samples allow no test, as with a single image, the noise of seeds alone must not make one.
    p = None if found.p is None else max(found.p, t_probability(found.interval.mean / error, noise.degrees))
    return replace(found, floor=error * t_quantile(0.5 + confidence / 2, noise.degrees), p=p)


def _combined(weights: Sequence[float], terms: Sequence[Sequence[TaskScores]]) -> list[Sample]:
    """Per benchmark, the weighted sum of the points of each sample."""
    combined = []
    for scores in zip(*terms, strict=True):
        points: Points = np.cumsum(
            [weight * score.points for weight, score in zip(weights, scores, strict=True)], axis=0
        )[-1]
        up = fsum(weight for weight in weights if weight > 0) * scores[0].highest
        down = fsum(weight for weight in weights if weight < 0) * scores[0].highest
        combined.append(Sample(points, scores[0].questions, down, up))
    return combined


def interval_json(interval: Interval | None) -> dict[str, float | None]:
    """``mean``, ``low``, ``high``, rounded."""
    if interval is None:
        return {"mean": None, "low": None, "high": None}
    return {"mean": rounded(interval.mean), "low": rounded(interval.low), "high": rounded(interval.high)}


def rounded(value: float | None) -> float | None:
    """To ``DIGITS`` digits, without a negative zero."""
    return None if value is None else round(value, DIGITS) + 0.0
