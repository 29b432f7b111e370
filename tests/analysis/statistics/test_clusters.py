"""Clustered variances against statsmodels, and Student's intervals against scipy.

statsmodels corrects G clusters, N values and K coefficients by G/(G − 1) · (N − 1)/(N − K). With the mean alone (K = 1)
that is our G/(G − 1); with a mean a benchmark we ask it for no correction and put ours on.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.sandwich_covariance import cov_cluster, cov_cluster_2groups

from harness.analysis.samples.values import Sample
from harness.analysis.statistics.intervals import FLOOR, Interval, clustered_interval, t_interval
from tests.analysis.synthetic import columns, sample

EXACT = 1e-10


def drawn(seed: int, count: int, images: int, sets: int, task: str = "vqav2") -> Sample:
    """Unequal clusters with effects of their own, so that no part of the variance is nothing."""
    generator = np.random.Generator(np.random.PCG64(seed))
    image, demonstrations = generator.integers(images, size=count), generator.integers(sets, size=count)
    by_image, by_set = generator.normal(0, 10, images), generator.normal(0, 6, sets)
    values = 50 + by_image[image] + by_set[demonstrations] + generator.normal(0, 15, count)
    return sample(values.tolist(), [f"i{n}" for n in image], demonstrations.tolist(), task=task)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [2, 3, 5, 40])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_t_intervals_and_their_p_are_scipys(seed: int, count: int, scale: float) -> None:
    values = (np.random.Generator(np.random.PCG64(seed)).normal(0.7, 1.0, count) * scale).tolist()
    expected = stats.ttest_1samp(values, 0.0)
    for confidence in (0.5, 0.8, 0.95, 0.999):
        found = t_interval(values, confidence)
        low, high = expected.confidence_interval(confidence)
        assert found.p == pytest.approx(expected.pvalue, abs=EXACT, rel=EXACT)
        assert (found.low, found.high) == (pytest.approx(low, rel=EXACT), pytest.approx(high, rel=EXACT))
        assert found.error == pytest.approx(stats.sem(values), rel=EXACT)


@pytest.mark.parametrize("statistic", [0.0, 1e-6, 1.0, 12.7, 1e3, -4.0])
@pytest.mark.parametrize("degrees", [1, 2, 2.7, 9, 513.5])
def test_p_is_that_of_students_distribution_for_any_degrees(statistic: float, degrees: float) -> None:
    found = Interval(statistic * 2, None, None, error=2.0, degrees=degrees)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(statistic), degrees), abs=EXACT, rel=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_clusters_of_images_are_statsmodels(seed: int) -> None:
    data = drawn(seed, 200, 60, 1)
    image = columns(data.questions.images)
    fitted = OLS(data.values, np.ones(len(data.values))).fit(
        cov_type="cluster", cov_kwds={"groups": image, "use_correction": True, "df_correction": True}, use_t=True
    )
    found = clustered_interval([data], 0.95)
    assert found.mean == pytest.approx(fitted.params[0], rel=EXACT)
    assert found.error == pytest.approx(fitted.bse[0], rel=EXACT)
    assert found.p == pytest.approx(fitted.pvalues[0], abs=EXACT)
    assert found.degrees == len(set(image)) - 1
    low, high = fitted.conf_int(0.05)[0]
    assert (found.low, found.high) == (pytest.approx(low, rel=EXACT), pytest.approx(high, rel=EXACT))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("sets", [2, 8])
def test_two_way_clusters_are_statsmodels(seed: int, sets: int) -> None:
    data = drawn(seed, 300, 80, sets)
    image, demonstrations = columns(data.questions.images), columns(data.questions.sets)
    fitted = OLS(data.values, np.ones(len(data.values))).fit()
    both, by_image, by_set = (float(each[0, 0]) for each in cov_cluster_2groups(fitted, image, demonstrations))
    by_pair = by_image + by_set - both
    found = clustered_interval([data], 0.95)
    variance = max(both, by_image * FLOOR)
    assert found.error == pytest.approx(sqrt(variance), rel=EXACT)
    count = len(set(image))
    pairs = len(set(zip(image, demonstrations, strict=True)))
    of_images = max(by_image**2 / (count - 1) - by_pair**2 / (pairs - 1), 0.0)
    degrees = variance**2 / (of_images + by_set**2 / (sets - 1))
    assert found.degrees == pytest.approx(min(max(degrees, 1.0), count - 1), rel=1e-8)
    reach = stats.t.ppf(0.975, found.degrees) * sqrt(variance)
    assert found.high == pytest.approx(found.mean + reach, rel=EXACT)
    assert found.p == pytest.approx(2 * stats.t.sf(found.mean / sqrt(variance), found.degrees), abs=EXACT)


def test_two_way_clusters_where_neither_part_is_at_a_bound() -> None:
    """That the comparison above is one of the formula and not of its floors."""
    found = [clustered_interval([drawn(seed, 300, 80, 8)], 0.95) for seed in range(10)]
    assert sum(1.01 < each.degrees < 70 for each in found if each.degrees) >= 8


@pytest.mark.parametrize("seed", range(5))
def test_means_of_benchmarks_that_share_images_are_statsmodels(seed: int) -> None:
    """The regression on a column a benchmark; an image in both is one cluster, a set of demonstrations is not."""
    one, two = drawn(seed, 150, 60, 8), drawn(seed + 50, 90, 50, 8, "textvqa")
    design = np.zeros((240, 2))
    design[:150, 0] = design[150:, 1] = 1.0
    values = np.concatenate([one.values, two.values])
    image = columns([*one.questions.images, *two.questions.images])
    sets = columns([*(f"a{n}" for n in one.questions.sets), *(f"b{n}" for n in two.questions.sets)])
    fitted = OLS(values, design).fit()
    half = np.array([0.5, 0.5])

    def part(which: Any, rows: Any, codes: Any) -> float:
        groups = len(set(codes))
        weight = half if len(rows) == 240 else np.array([0.5])
        return float(weight @ cov_cluster(which, codes, use_correction=False) @ weight) * groups / (groups - 1)

    by_image = variance = part(fitted, values, image)
    for rows in (slice(0, 150), slice(150, 240)):  # demonstration sets belong to their benchmark
        own = OLS(values[rows], np.ones(len(values[rows]))).fit()
        pairs = columns([f"{a} {b}" for a, b in zip(image[rows], sets[rows], strict=True)])
        variance += part(own, values[rows], sets[rows]) - part(own, values[rows], pairs)
    found = clustered_interval([one, two], 0.95)
    assert found.mean == pytest.approx(float(half @ fitted.params), rel=EXACT)
    assert found.error == pytest.approx(sqrt(max(variance, by_image * FLOOR)), rel=EXACT)


def test_a_set_of_one_benchmark_is_not_the_set_of_another() -> None:
    """Set 0 of one benchmark holds other demonstrations than set 0 of the next, however the two are called."""
    one, two = drawn(1, 100, 40, 3), drawn(2, 100, 40, 3, "textvqa")
    same = drawn(2, 100, 40, 3)
    apart, together = clustered_interval([one, two], 0.95), clustered_interval([one, same], 0.95)
    assert apart == together
    renamed = sample(
        two.values.tolist(), list(two.questions.images), [n + 7 for n in two.questions.sets], task="textvqa"
    )
    assert clustered_interval([one, renamed], 0.95) == apart


def test_copies_of_samples_in_their_image_and_set_add_no_certainty() -> None:
    data = drawn(3, 60, 30, 4)
    questions = data.questions
    thrice = sample(data.values.tolist() * 3, list(questions.images) * 3, list(questions.sets) * 3)
    once, again = clustered_interval([data], 0.95), clustered_interval([thrice], 0.95)
    assert again.error == pytest.approx(once.error, rel=EXACT)
    assert again.degrees == pytest.approx(once.degrees, rel=1e-8)


@pytest.mark.parametrize(("value", "images"), [(0.0, 1), (0.0, 40), (1.0, 40), (-1.0, 40), (5.0, 200), (90.0, 3)])
def test_the_test_and_the_interval_of_unvaried_values_agree(value: float, images: int) -> None:
    """0 lies outside of the interval exactly when p is below 1 − confidence."""
    for confidence in (0.5, 0.8, 0.95, 0.99):
        found = clustered_interval([sample([value] * images, lowest=-100.0)], confidence)
        assert found.p is not None
        assert found.low is not None
        assert found.high is not None
        assert (found.p < 1 - confidence) == (not found.low <= 0.0 <= found.high)


def test_the_exact_test_of_unvaried_values_is_a_binomial_one() -> None:
    """40 of 40 better by 5 of 100: were the mean 0, a share 5/105 would be at the other end."""
    found = clustered_interval([sample([5.0] * 40, lowest=-100.0)], 0.95)
    assert found.p == pytest.approx(2 * stats.binom.pmf(0, 40, 5 / 105), abs=EXACT)


def test_one_image_with_many_sets_has_no_interval() -> None:
    found = clustered_interval([sample([1.0, 2.0, 5.0, 9.0], ["a"] * 4, [0, 1, 2, 3])], 0.95)
    assert (found.low, found.high, found.p) == (None, None, None)


def test_coverage_with_demonstration_sets_that_matter() -> None:
    """Eight sets with an effect of their own: clusters of images alone cover far too little, two ways enough."""
    generator = np.random.Generator(np.random.PCG64(0))
    both, alone = 0, 0
    for _ in range(400):
        image, sets = np.arange(160) // 2, np.arange(160) % 8
        values = generator.normal(0, 5, 80)[image] + generator.normal(0, 4, 8)[sets] + generator.normal(0, 10, 160)
        names = [f"i{n}" for n in image]
        two = clustered_interval([sample(values.tolist(), names, sets.tolist())], 0.95)
        one = clustered_interval([sample(values.tolist(), names)], 0.95)
        both += two.low <= 0.0 <= two.high  # type: ignore[operator]
        alone += one.low <= 0.0 <= one.high  # type: ignore[operator]
    assert 0.92 <= both / 400 <= 0.98
    assert alone / 400 < 0.85
