from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy import integrate, stats
from statsmodels.stats.power import TTestPower

from harness.analysis.statistics.power import (
    MOST_SEEDS,
    Noise,
    detectable,
    pooled_noise,
    seeds_to_decide,
    seeds_to_detect,
    seeds_to_equate,
)


@pytest.mark.parametrize("seeds", [2, 3, 4, 5, 10, 30, 200])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_the_detectable_effect_is_found_with_the_power_statsmodels_says(
    seeds: int, confidence: float, power: float
) -> None:
    """A difference counts as found with the right sign: one side of the two-sided test."""
    effect = detectable(2.5, seeds, confidence, power)
    assert effect is not None
    found = TTestPower().power(effect / 2.5, seeds, (1 - confidence) / 2, alternative="larger")
    assert found == pytest.approx(power, abs=1e-6)
    if seeds > 5:  # with fewer scipy has no number for the far side, which is next to nothing
        both = TTestPower().power(effect / 2.5, seeds, 1 - confidence, alternative="two-sided")
        assert power - 1e-6 <= both < power + 0.01


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_the_detectable_effect_by_integration(seeds: int) -> None:
    """Without anybody's noncentral t: P(Z + shift > t · s) over the distribution of s, a χ over √degrees."""
    effect = detectable(1.0, seeds, 0.95, 0.8)
    assert effect is not None
    degrees = seeds - 1
    critical, shift = stats.t.ppf(0.975, degrees), effect * sqrt(seeds)

    def density(s: float) -> float:
        return float(stats.chi.pdf(s * sqrt(degrees), degrees) * sqrt(degrees) * stats.norm.cdf(shift - critical * s))

    found = integrate.quad(density, 0, 12, epsabs=1e-10, limit=500, points=[shift / critical])[0]
    assert found == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_detectable_effect_is_found_so_often(seeds: int) -> None:
    effect = detectable(2.0, seeds, 0.95, 0.8)
    assert effect is not None
    values = np.random.Generator(np.random.PCG64(1)).normal(effect, 2.0, (20_000, seeds))
    statistics = values.mean(axis=1) / (values.std(axis=1, ddof=1) / sqrt(seeds))
    assert float(np.mean(statistics > stats.t.ppf(0.975, seeds - 1))) == pytest.approx(0.8, abs=0.012)


def test_there_is_a_number_for_every_design() -> None:
    for seeds in [*range(2, 30), 100, MOST_SEEDS]:
        for confidence in (0.5, 0.9, 0.999):
            for power in (0.3, 0.8, 0.99):
                effect = detectable(1.0, seeds, confidence, power)
                assert effect is not None
                assert 0 <= effect < float("inf")


def test_one_seed_cannot_test() -> None:
    assert detectable(2.0, 1, 0.95, 0.8) is None


def test_the_effect_grows_with_noise_and_shrinks_with_seeds() -> None:
    effects = [detectable(1.0, seeds, 0.95, 0.8) for seeds in (2, 3, 4, 5, 10, 100)]
    assert effects == sorted(effects, reverse=True)  # type: ignore[type-var]
    assert detectable(3.0, 4, 0.95, 0.8) == pytest.approx(3 * effects[2])  # type: ignore[operator]
    assert detectable(0.0, 4, 0.95, 0.8) == 0.0


@pytest.mark.parametrize("effect", [0.3, 1.0, 2.0, 8.0, 100.0])
def test_the_seeds_to_detect_are_the_fewest(effect: float) -> None:
    found = seeds_to_detect(effect, 1.0, 0.95, 0.8)
    assert found is not None
    assert detectable(1.0, found, 0.95, 0.8) <= effect  # type: ignore[operator]
    if found > 2:
        assert detectable(1.0, found - 1, 0.95, 0.8) > effect  # type: ignore[operator]
    assert seeds_to_detect(-effect, 1.0, 0.95, 0.8) == found
    expected = TTestPower().solve_power(effect, None, 0.025, 0.8, alternative="larger") if 0.3 <= effect <= 1 else None
    if expected is not None:
        assert found == int(np.ceil(expected))


def test_what_no_number_of_seeds_finds() -> None:
    assert seeds_to_detect(0.0, 1.0, 0.95, 0.8) is None
    assert seeds_to_detect(0.0, 0.0, 0.95, 0.8) is None
    assert seeds_to_detect(0.001, 1.0, 0.95, 0.8) is None
    at_most = detectable(1.0, MOST_SEEDS, 0.95, 0.8)
    assert seeds_to_detect(at_most, 1.0, 0.95, 0.8) == MOST_SEEDS  # type: ignore[arg-type]
    assert seeds_to_detect(1e-9, 0.0, 0.95, 0.8) == 2


def equated(seeds: int, effect: float, bound: float) -> float:
    """How often the interval lies within the bounds, of 20,000 times."""
    values = np.random.Generator(np.random.PCG64(2)).normal(effect, 1.0, (20_000, seeds))
    reach = stats.t.ppf(0.975, seeds - 1) * values.std(axis=1, ddof=1) / sqrt(seeds)
    middle = values.mean(axis=1)
    return float(np.mean((middle - reach > -bound) & (middle + reach < bound)))


@pytest.mark.parametrize(("effect", "bound"), [(0.0, 1.0), (0.0, 2.0), (0.0, 0.5), (0.3, 1.0), (-0.3, 1.0)])
def test_the_seeds_to_equate_do(effect: float, bound: float) -> None:
    """The power is met; and not by asking for half as many again."""
    found = seeds_to_equate(effect, bound, 1.0, 0.95, 0.8)
    assert found is not None
    assert equated(found, effect, bound) > 0.77
    assert equated(int(found / 1.5), effect, bound) < 0.8


def test_what_is_beyond_the_bound_is_never_equivalent() -> None:
    assert seeds_to_equate(1.0, 1.0, 0.5, 0.95, 0.8) is None
    assert seeds_to_equate(-2.0, 1.0, 0.5, 0.95, 0.8) is None
    assert seeds_to_equate(0.0, 1.0, 0.0, 0.95, 0.8) == 2
    assert seeds_to_equate(0.999, 1.0, 5.0, 0.95, 0.8) is None


def test_to_decide_takes_the_shorter_way() -> None:
    far, near = (10.0, 1.0, 1.0), (0.0, 1.0, 3.0)
    assert seeds_to_decide(*far, 0.95, 0.8) == seeds_to_detect(10.0, 1.0, 0.95, 0.8)
    assert seeds_to_decide(*near, 0.95, 0.8) == seeds_to_equate(0.0, 3.0, 1.0, 0.95, 0.8)
    assert seeds_to_decide(0.0, 1.0, 0.001, 0.95, 0.8) is None
    assert seeds_to_decide(*far, 0.95, 0.8, undecided=40) == 41  # those that are there did not
    corrected = seeds_to_detect(1.0, 1.0, 1 - 0.05 / 6, 0.8)
    assert seeds_to_decide(1.0, 1.0, 0.001, 0.95, 0.8, tests=6) == corrected
    assert corrected is not None
    assert corrected > (seeds_to_detect(1.0, 1.0, 0.95, 0.8) or 0)


def test_pooled_noise_is_that_of_an_analysis_of_variance() -> None:
    groups = [[50.0, 52.0, 51.0], [60.0, 66.0], [10.0], []]
    found = pooled_noise(groups)
    squares = np.var(groups[0], ddof=1) * 2 + np.var(groups[1], ddof=1)
    assert found == Noise(pytest.approx(sqrt(squares / 3), abs=1e-12), 3)  # type: ignore[arg-type]


def test_without_two_seeds_there_is_no_noise_to_know() -> None:
    assert pooled_noise([[1.0], [2.0], []]) is None
    assert pooled_noise([]) is None
    assert pooled_noise([[3.0, 3.0]]) == Noise(0.0, 1)
