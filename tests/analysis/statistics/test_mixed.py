"""The mixed model against statsmodels' MixedLM (whose optimiser ends within 1e-7) and, at equal variances, exactly."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import log, pi
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import GLS
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

from harness.analysis.statistics.intervals import t_interval
from harness.analysis.statistics.mixed import (
    _fit,
    _reml,
    _small_sample,
    _variance,
    difference_interval,
    restricted_likelihood,
)

UNBALANCED = [
    ((0, 1, 2), (1, 2, 3)),
    ((0, 1, 2), (0, 1)),
    ((0, 1, 2, 3, 4), (2, 3, 4, 5, 6, 7)),
    ((0, 1, 2, 3, 4, 5, 6, 7), (6, 7)),
]
EXACT, OPTIMISED = 1e-10, 1e-6
CONTRAST = np.array([1.0, -1.0])

Seeds = dict[int, float]


def drawn(
    number: int, first: Sequence[int], second: Sequence[int], by_seed: float = 2.0, residual: float = 1.0
) -> tuple[Seeds, Seeds]:
    generator = np.random.Generator(np.random.PCG64(number))
    effects = {seed: float(generator.normal(0, by_seed)) for seed in sorted({*first, *second})}
    return tuple(  # type: ignore[return-value]
        {seed: level + effects[seed] + float(generator.normal(0, residual)) for seed in seeds}
        for level, seeds in ((50.0, first), (48.0, second))
    )


def arrays(first: Seeds, second: Seeds) -> tuple[Any, Any, Any, Any]:
    y = np.array([*first.values(), *second.values()])
    design = np.zeros((len(y), 2))
    design[: len(first), 0] = design[len(first) :, 1] = 1.0
    names = np.array([*first, *second])
    return y, design, (names[:, None] == names[None, :]).astype(float), names


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("count", [2, 3, 6])
def test_balanced_seeds_are_the_paired_t_test(number: int, count: int) -> None:
    first, second = drawn(number, range(count), range(count))
    found = difference_interval(first, second, 0.95)
    expected = stats.ttest_rel(list(first.values()), list(second.values()))
    low, high = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, abs=EXACT)
    assert (found.low, found.high) == (pytest.approx(low, rel=EXACT), pytest.approx(high, rel=EXACT))


def test_pairs_are_of_one_seed_whatever_the_order() -> None:
    first, second = drawn(0, range(4), range(4))
    assert difference_interval(first, dict(reversed(second.items())), 0.95) == difference_interval(first, second, 0.95)


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("seeds", [((0, 1, 2), (3, 4)), ((0,), (1, 2)), ((0, 1, 2), (2, 3))])
def test_without_two_pairs_it_is_the_t_test_of_two_samples(number: int, seeds: tuple[Any, Any]) -> None:
    first, second = drawn(number, *seeds)
    found = difference_interval(first, second, 0.9)
    expected = stats.ttest_ind(list(first.values()), list(second.values()))
    low, high = expected.confidence_interval(0.9)
    assert found.p == pytest.approx(expected.pvalue, abs=EXACT)
    assert found.degrees == len(first) + len(second) - 2
    assert (found.low, found.high) == (pytest.approx(low, rel=EXACT), pytest.approx(high, rel=EXACT))


def _statsmodels(y: Any, design: Any, names: Any, start: Any = None) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of variances at 0
        model = MixedLM(y, design, groups=names)
        return model.fit(reml=True, method=["bfgs", "lbfgs"], gtol=1e-12, start_params=start)


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("seeds", UNBALANCED)
def test_unbalanced_seeds_are_statsmodels(number: int, seeds: tuple[Any, Any]) -> None:
    first, second = drawn(number, *seeds)
    y, design, same_seed, names = arrays(first, second)
    seed, residual = _reml(y, design, same_seed)
    constant = 0.5 * (len(y) - 2) * log(2 * pi)
    ours = restricted_likelihood(y, design, same_seed, seed, residual) - constant
    fitted = _statsmodels(y, design, names)
    if fitted.llf < ours - 1e-6:  # it stopped on the way; from our optimum it would go up if there was one
        start = MixedLMParams.from_components(fitted.fe_params, cov_re=np.array([[seed / residual]]))
        fitted = _statsmodels(y, design, names, start)
    assert ours >= fitted.llf - EXACT
    if seed == 0.0:  # statsmodels stops near the boundary
        return
    assert ours == pytest.approx(fitted.llf, abs=1e-8)
    assert seed == pytest.approx(float(fitted.cov_re[0, 0]), rel=OPTIMISED, abs=OPTIMISED)
    assert residual == pytest.approx(fitted.scale, rel=OPTIMISED)
    found = difference_interval(first, second, 0.95)
    assert found.mean == pytest.approx(float(CONTRAST @ fitted.fe_params), abs=OPTIMISED)
    # Its own standard errors come from the observed information of effects and variances together; those of the
    # effects given its variances are generalised least squares.
    theirs = GLS(y, design, sigma=_variance(float(fitted.cov_re[0, 0]), fitted.scale, same_seed)).fit()
    error = float(CONTRAST @ theirs.normalized_cov_params @ CONTRAST) ** 0.5
    _, covariance = _fit(y, design, _variance(seed, residual, same_seed))
    assert float(CONTRAST @ covariance @ CONTRAST) ** 0.5 == pytest.approx(error, rel=OPTIMISED)
    assert found.error >= error * (1 - OPTIMISED)  # type: ignore[operator]  # the correction for few seeds adds to it


@pytest.mark.parametrize("seeds", UNBALANCED)
@pytest.mark.parametrize(("seed", "residual"), [(4.0, 1.0), (0.3, 2.0), (1e-3, 1.0), (100.0, 0.5)])
def test_at_equal_variances_it_is_statsmodels_exactly(seeds: tuple[Any, Any], seed: float, residual: float) -> None:
    y, design, same_seed, names = arrays(*drawn(1, *seeds))
    middle, covariance = _fit(y, design, _variance(seed, residual, same_seed))
    theirs = GLS(y, design, sigma=_variance(seed, residual, same_seed)).fit()
    assert middle == pytest.approx(theirs.params, rel=EXACT)
    assert covariance == pytest.approx(theirs.normalized_cov_params, rel=EXACT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MixedLM(y, design, groups=names).fit(reml=True).model  # it knows what to maximise once it did
    params = MixedLMParams.from_components(fe_params=middle, cov_re=np.array([[seed / residual]]))
    # MixedLM takes the residual variance that is best for the ratio; so do we here, to compare.
    best = _profiled_residual(y, design, same_seed, seed / residual)
    ours = restricted_likelihood(y, design, same_seed, seed / residual * best, best)
    constant = 0.5 * (len(y) - 2) * log(2 * pi)
    assert ours - constant == pytest.approx(model.loglike(params, profile_fe=True), abs=EXACT)


def _profiled_residual(y: Any, design: Any, same_seed: Any, ratio: float) -> float:
    fitted = GLS(y, design, sigma=_variance(ratio, 1.0, same_seed)).fit()
    return float(fitted.wresid @ fitted.wresid) / (len(y) - design.shape[1])


@pytest.mark.parametrize("seeds", UNBALANCED)
def test_the_optimum_is_the_highest_there_is(seeds: tuple[Any, Any]) -> None:
    """Against a grid of ratios: the search for one number must not end on a lower hill."""
    for number in range(20):
        y, design, same_seed, _ = arrays(*drawn(number, *seeds, by_seed=number % 4))
        found = restricted_likelihood(y, design, same_seed, *_reml(y, design, same_seed))
        for ratio in [0.0, *np.exp(np.linspace(-11, 11, 45))]:
            residual = _profiled_residual(y, design, same_seed, ratio)
            assert found >= restricted_likelihood(y, design, same_seed, ratio * residual, residual) - 1e-9


@pytest.mark.parametrize("count", [2, 3, 10])
def test_the_small_sample_rule_of_balanced_pairs_is_the_paired_test(count: int) -> None:
    y, design, same_seed, _ = arrays(*drawn(0, range(count), range(count), by_seed=20.0))
    seed, residual = _reml(y, design, same_seed)
    assert seed > 0
    variance, degrees = _small_sample(design, same_seed, seed, residual, CONTRAST)
    middle, _ = _fit(y, design, _variance(seed, residual, same_seed))
    paired = t_interval((y[:count] - y[count:]).tolist(), 0.95)
    assert degrees == pytest.approx(count - 1, rel=1e-6)
    assert float(CONTRAST @ middle) == pytest.approx(paired.mean, abs=EXACT)
    assert variance**0.5 == pytest.approx(paired.error, rel=OPTIMISED)


@pytest.mark.parametrize("seeds", UNBALANCED)
@pytest.mark.parametrize(("seed", "residual"), [(4.0, 1.0), (0.3, 2.0), (0.0, 1.0)])
def test_the_degrees_are_by_the_derivatives_of_the_variance(
    seeds: tuple[Any, Any], seed: float, residual: float
) -> None:
    """2 V² / (g' I⁻¹ g), with slopes by small steps and the information by those of the likelihood's expectation."""
    _, design, same_seed, _ = arrays(*drawn(0, *seeds))
    parts = [same_seed, np.eye(len(same_seed))]

    def spread(seed: float, residual: float) -> float:
        inverse = np.linalg.inv(_variance(seed, residual, same_seed))
        return float(CONTRAST @ np.linalg.inv(design.T @ inverse @ design) @ CONTRAST)

    step = 1e-6
    slope = np.array(
        [
            (spread(seed + step, residual) - spread(seed - step, residual)) / 2 / step,
            (spread(seed, residual + step) - spread(seed, residual - step)) / 2 / step,
        ]
    )
    inverse = np.linalg.inv(_variance(seed, residual, same_seed))
    projection = inverse - inverse @ design @ np.linalg.inv(design.T @ inverse @ design) @ design.T @ inverse
    information = np.array([[np.trace(projection @ a @ projection @ b) / 2 for b in parts] for a in parts])
    expected = 2 * spread(seed, residual) ** 2 / float(slope @ np.linalg.solve(information, slope))
    _, degrees = _small_sample(design, same_seed, seed, residual, CONTRAST)
    assert degrees == pytest.approx(max(1.0, expected), rel=1e-5)


@pytest.mark.parametrize("seeds", UNBALANCED)
@pytest.mark.parametrize(("seed", "residual"), [(4.0, 1.0), (0.3, 2.0)])
def test_the_variance_is_corrected_by_half_its_curvature(seeds: tuple[Any, Any], seed: float, residual: float) -> None:
    """Kackar & Harville (1984): V(Φ c'β) + Σ W_ij cov-rates, from derivatives of the estimate's weights by small steps.

    The weights l(θ) = V⁻¹ X Φ c of the estimate move with θ; Λ is their spread, l_i' V l_j, weighted by W; and the
    plug-in variance is low by as much again, so that twice of it is added.
    """
    _, design, same_seed, _ = arrays(*drawn(0, *seeds))
    parts = [same_seed, np.eye(len(same_seed))]

    def weights(seed: float, residual: float) -> Any:
        inverse = np.linalg.inv(_variance(seed, residual, same_seed))
        return inverse @ design @ np.linalg.inv(design.T @ inverse @ design) @ CONTRAST

    step = 1e-5
    moved = [
        (weights(seed + step, residual) - weights(seed - step, residual)) / 2 / step,
        (weights(seed, residual + step) - weights(seed, residual - step)) / 2 / step,
    ]
    variance = _variance(seed, residual, same_seed)
    inverse = np.linalg.inv(variance)
    projection = inverse - inverse @ design @ np.linalg.inv(design.T @ inverse @ design) @ design.T @ inverse
    information = np.array([[np.trace(projection @ a @ projection @ b) / 2 for b in parts] for a in parts])
    w = np.linalg.inv(information)
    added = sum(w[i, j] * float(moved[i] @ variance @ moved[j]) for i in range(2) for j in range(2))
    plain = float(weights(seed, residual) @ variance @ weights(seed, residual))
    found, _ = _small_sample(design, same_seed, seed, residual, CONTRAST)
    assert added > 0
    assert found == pytest.approx(plain + 2 * added, rel=1e-6)


def test_seeds_that_explain_nothing_are_no_narrower_than_two_samples() -> None:
    """Pairs that vary more within a seed than between: the boundary, where the estimate is that of two samples."""
    first, second = {0: 50.0, 1: 54.0, 2: 51.0}, {0: 53.0, 1: 48.0, 3: 50.0, 4: 52.0}
    y, design, same_seed, _ = arrays(first, second)
    assert _reml(y, design, same_seed)[0] == 0.0
    found = difference_interval(first, second, 0.95)
    expected = stats.ttest_ind(list(first.values()), list(second.values())).confidence_interval(0.95)
    assert found.mean == pytest.approx((expected.low + expected.high) / 2, abs=EXACT)
    assert found.high - found.low >= expected.high - expected.low  # type: ignore[operator]


def test_two_values_have_no_interval() -> None:
    found = difference_interval({0: 51.0}, {1: 50.0}, 0.95)
    assert (found.mean, found.low, found.high, found.p) == (1.0, None, None, None)


@pytest.mark.parametrize("second", [{0: 40.0, 1: 50.0}, {0: 40.0, 1: 50.0, 2: 60.0, 3: 41.0}])
def test_pairs_that_do_not_vary_have_no_interval(second: Seeds) -> None:
    """A difference of exactly 10 at every common seed; further seeds say nothing about how it varies."""
    first = {0: 50.0, 1: 60.0, 2: 70.0}
    found = difference_interval(first, second, 0.95)
    assert (found.mean, found.low, found.high, found.p) == (10.0, None, None, None)


@pytest.mark.parametrize("shift", [1e6, -1e6])
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_scale_and_the_level_of_the_scores_do_not_matter(shift: float, scale: float) -> None:
    first, second = drawn(2, (0, 1, 2, 3), (2, 3, 4))
    plain = difference_interval(first, second, 0.95)
    moved = difference_interval(
        *({seed: scale * value + shift * scale for seed, value in each.items()} for each in (first, second)), 0.95
    )
    assert moved.mean == pytest.approx(scale * plain.mean, rel=1e-5)
    assert moved.error == pytest.approx(scale * plain.error, rel=1e-5)  # type: ignore[operator]
    assert moved.degrees == pytest.approx(plain.degrees, rel=1e-4)


@pytest.mark.parametrize("by_seed", [0.0, 0.5, 3.0])
def test_coverage(by_seed: float) -> None:
    """Three seeds against four, two of them common: whether seeds matter or not."""
    generator = np.random.Generator(np.random.PCG64(11))
    covered, times = 0, 400
    for _ in range(times):
        effects = generator.normal(0, by_seed, 5)
        first = {seed: float(effects[seed] + generator.normal()) for seed in (0, 1, 2)}
        second = {seed: float(effects[seed] + generator.normal()) for seed in (1, 2, 3, 4)}
        found = difference_interval(first, second, 0.95)
        covered += found.low <= 0.0 <= found.high  # type: ignore[operator]
    assert covered / times == pytest.approx(0.95, abs=0.035)
