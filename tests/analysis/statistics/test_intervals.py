from __future__ import annotations

import random
from math import sqrt

import pytest
from scipy import stats

from harness.analysis.samples.values import mean
from harness.analysis.statistics.intervals import Interval, clustered_interval, seeds_interval, t_interval
from tests.analysis.synthetic import from_rows, sample
from tests.synthetic import random_scores, rows


def close(found: Interval, expected: tuple[float, float]) -> bool:
    return (found.low, found.high) == (pytest.approx(expected[0], abs=1e-9), pytest.approx(expected[1], abs=1e-9))


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_t_interval_is_scipys(confidence: float) -> None:
    values = [61.5, 64.25, 58.0, 66.0]
    expected = stats.t.interval(confidence, len(values) - 1, mean(values), stats.sem(values))
    assert close(t_interval(values, confidence), expected)


def test_t_interval_of_two_seeds_by_hand() -> None:
    """60 and 64: mean 62, standard error 2, t(1, 0.975) = 12.7062."""
    found = t_interval([60.0, 64.0], 0.95)
    assert found.mean == 62.0
    assert found.high == pytest.approx(62 + 2 * 12.706204736, abs=1e-6)


def test_one_value_has_no_interval() -> None:
    assert t_interval([3.0], 0.95) == Interval(3.0, None, None)


def test_clusters_of_one_sample_are_the_classical_interval() -> None:
    values = [0.0, 100.0, 30.0, 60.0, 90.0, 100.0, 0.0]
    expected = stats.t.interval(0.95, len(values) - 1, mean(values), stats.sem(values))
    assert close(clustered_interval([sample(values)], 0.95), expected)


def test_clusters_by_hand() -> None:
    """Mean 50; residual sums of the clusters −100, +100, 0; variance 3/2 · 20000 / 36; t(2, 0.975) in closed form."""
    values = [0.0, 0.0, 100.0, 100.0, 0.0, 100.0]
    found = clustered_interval([sample(values, ["a", "a", "b", "b", "c", "c"])], 0.95)
    reach = 0.95 * sqrt(2 / (1 - 0.95**2)) * sqrt(1.5 * 20000 / 36)
    assert found.mean == 50.0
    assert close(found, (50 - reach, 50 + reach))


def test_copies_of_samples_in_their_cluster_add_no_certainty() -> None:
    values = [0.0, 100.0, 30.0, 60.0]
    once = clustered_interval([sample(values)], 0.95)
    thrice = clustered_interval([sample(values * 3, ["a", "b", "c", "d"] * 3)], 0.95)
    assert close(thrice, (once.low, once.high))  # type: ignore[arg-type]


def test_the_mean_of_benchmarks_is_plain_whatever_their_sizes() -> None:
    small, large = sample([100.0, 0.0]), sample([10.0, 20.0, 30.0, 40.0], ["p", "q", "r", "s"])
    assert clustered_interval([small, large], 0.95).mean == (50.0 + 25.0) / 2


def test_an_image_in_two_benchmarks_is_one_cluster() -> None:
    values = [0.0, 100.0, 100.0, 0.0, 100.0]
    images = ["a", "b", "c", "d", "e"]
    apart = clustered_interval([sample(values, images), sample(values, [f"other {i}" for i in images])], 0.95)
    shared = clustered_interval([sample(values, images), sample(values, images)], 0.95)
    alone = clustered_interval([sample(values, images)], 0.95)
    assert close(shared, (alone.low, alone.high))  # type: ignore[arg-type]
    assert apart.low is not None
    assert shared.low is not None
    assert apart.low > shared.low


def test_one_cluster_gives_no_interval() -> None:
    assert clustered_interval([sample([1.0, 2.0], ["a", "a"])], 0.95) == Interval(1.5, None, None)


@pytest.mark.parametrize(("value", "successes"), [(0.0, 0), (100.0, 20)])
def test_where_nothing_varies_the_bound_is_that_of_a_share(value: float, successes: int) -> None:
    found = clustered_interval([sample([value] * 20)], 0.95)
    expected = stats.binomtest(successes, 20).proportion_ci(0.95, method="exact")
    assert found.mean == value
    assert close(found, (100 * expected.low, 100 * expected.high))


def test_equal_models_differ_by_less_than_a_bound_not_by_nothing() -> None:
    found = clustered_interval([sample([0.0] * 40, lowest=-100.0)], 0.95)
    reach = 100 * (1 - 0.025 ** (1 / 40))
    assert close(found, (-reach, reach))


def test_unvaried_clusters_count_not_samples() -> None:
    many = clustered_interval([sample([0.0] * 40, ["a", "b"] * 20)], 0.95)
    two = clustered_interval([sample([0.0] * 2)], 0.95)
    assert close(many, (two.low, two.high))  # type: ignore[arg-type]


def test_order_does_not_matter_to_the_last_bit() -> None:
    """Whatever the order of the rows in the file: of samples, of conditions, of both."""
    content = rows("a", "vqav2", 0, random_scores(), samples=301)
    for number, row in enumerate(content):
        row["image_id"] = f"i{random.Random(number % 301).randrange(90)}"
        row["demonstration_set"] = random.Random(f"set {number % 301}").randrange(7)
    first = clustered_interval([from_rows(content).sample()], 0.95)
    for seed in range(5):
        random.Random(seed).shuffle(content)
        again = clustered_interval([from_rows(content).sample()], 0.95)
        assert (again.mean, again.low, again.high) == (first.mean, first.low, first.high)


def test_several_seeds_are_judged_by_their_means() -> None:
    seeds = {seed: [sample([level - 5, level + 5])] for seed, level in ((0, 60.0), (1, 63.0), (2, 66.0))}
    found = seeds_interval(seeds, 0.95)
    assert (found.mean, found.low, found.high) == (
        63.0,
        t_interval([60.0, 63.0, 66.0], 0.95).low,
        t_interval([60.0, 63.0, 66.0], 0.95).high,
    )


def test_one_seed_is_judged_by_its_samples() -> None:
    one = [sample([0.0, 100.0, 50.0])]
    assert seeds_interval({7: one}, 0.95) == clustered_interval(one, 0.95)


def test_seeds_with_equal_means_are_not_certain() -> None:
    seeds = {0: [sample([0.0, 100.0, 50.0])], 1: [sample([100.0, 0.0, 50.0])], 2: [sample([50.0, 0.0, 100.0])]}
    found = seeds_interval(seeds, 0.95)
    assert found.low is not None
    assert found.low < 50.0
    assert found == clustered_interval([sample([50.0, 100 / 3, 200 / 3])], 0.95)


def covered(intervals: list[Interval], truth: float) -> float:
    return sum(i.low is not None and i.high is not None and i.low <= truth <= i.high for i in intervals) / len(
        intervals
    )


def test_coverage_of_clustered_samples() -> None:
    """Three questions an image that mostly succeed or fail together: 95 % intervals hold the truth 95 % of the time.

    Without clusters they would hold it about 75 % of the time.
    """
    chance = random.Random(0)
    clustered, naive = [], []
    for _ in range(400):
        values, images = [], []
        for image in range(60):
            level = chance.gauss(50, 20)
            for _ in range(3):
                values.append(level + chance.gauss(0, 8))
                images.append(f"i{image}")
        clustered.append(clustered_interval([sample(values, images)], 0.95))
        naive.append(clustered_interval([sample(values)], 0.95))
    assert 0.92 <= covered(clustered, 50.0) <= 0.98
    assert covered(naive, 50.0) < 0.85


def test_coverage_over_three_seeds() -> None:
    chance = random.Random(0)
    intervals = [t_interval([chance.gauss(3, 1) for _ in range(3)], 0.95) for _ in range(1000)]
    assert 0.93 <= covered(intervals, 3.0) <= 0.97
