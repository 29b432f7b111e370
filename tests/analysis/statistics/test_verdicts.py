from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from harness.analysis.statistics.differences import Difference
from harness.analysis.statistics.family import correct
from harness.analysis.statistics.intervals import Interval, t_interval
from harness.analysis.statistics.verdicts import holm, judge, max_t

DRAWS = 40_000
points = st.floats(-100, 100).map(lambda value: round(value, 3))
widths = st.floats(0, 100).map(lambda value: round(value, 3))
probabilities = st.floats(0, 1)
bounds = st.floats(0.01, 50)


def around(mean: float, width: float) -> Interval:
    return Interval(mean, mean - width, mean + width)


@given(points, widths, st.none() | probabilities, bounds)
def test_a_word_has_the_sign_of_the_mean_and_a_test_behind_it(
    mean: float, width: float, p: float | None, min_effect: float
) -> None:
    verdict = judge(around(mean, width), p, min_effect, 0.95)
    if verdict == "better":
        assert mean > 0
    if verdict == "worse":
        assert mean < 0
    if verdict in ("better", "worse"):
        assert p is not None
        assert p < 0.05


@given(points, widths, st.none() | probabilities, bounds)
def test_equivalent_is_exactly_the_whole_interval_within_the_bounds(
    mean: float, width: float, p: float | None, min_effect: float
) -> None:
    inside = -min_effect < mean - width and mean + width < min_effect
    assert (judge(around(mean, width), p, min_effect, 0.95) == "equivalent") == inside


@given(points, widths, probabilities, probabilities, bounds)
def test_a_larger_p_never_decides_more(mean: float, width: float, p: float, q: float, min_effect: float) -> None:
    low, high = sorted((p, q))
    surer, less_sure = (judge(around(mean, width), each, min_effect, 0.95) for each in (low, high))
    assert less_sure in (surer, "inconclusive")
    if surer == "equivalent":
        assert less_sure == "equivalent"


@given(points, widths, st.none() | probabilities, bounds)
def test_the_other_way_round_it_is_the_opposite_word(
    mean: float, width: float, p: float | None, min_effect: float
) -> None:
    opposite = {"better": "worse", "worse": "better"}
    there = judge(around(mean, width), p, min_effect, 0.95)
    assert judge(around(-mean, width), p, min_effect, 0.95) == opposite.get(there, there)


@given(points, widths, st.none() | probabilities, bounds, bounds)
def test_a_wider_bound_never_takes_equivalence_away(
    mean: float, width: float, p: float | None, one: float, two: float
) -> None:
    narrow, wide = sorted((one, two))
    if judge(around(mean, width), p, narrow, 0.95) == "equivalent":
        assert judge(around(mean, width), p, wide, 0.95) == "equivalent"


@given(st.lists(points, min_size=2, max_size=6), bounds, st.sampled_from([0.8, 0.95, 0.99]))
def test_uncorrected_it_is_decided_exactly_when_the_interval_leaves_out_zero(
    values: Sequence[float], min_effect: float, confidence: float
) -> None:
    interval = t_interval(values, confidence)
    if not interval.error or abs(abs(interval.mean) - (interval.high - interval.mean)) < 1e-9:  # type: ignore[operator]
        return
    verdict = judge(interval, interval.p, min_effect, confidence)
    assert interval.low is not None
    assert interval.high is not None
    if verdict != "equivalent":
        assert (verdict != "inconclusive") == (not interval.low <= 0 <= interval.high)


def test_without_an_interval_or_a_test_nothing_is_decided() -> None:
    assert judge(Interval(50.0, None, None), None, 1.0, 0.95) == "inconclusive"
    assert judge(around(50.0, 1.0), None, 1.0, 0.95) == "inconclusive"
    assert judge(around(0.0, 5.0), 0.0, 1.0, 0.95) == "inconclusive"


def test_bounds_are_open() -> None:
    """An interval that reaches the smallest effect that matters has not excluded it."""
    assert judge(Interval(0.0, -1.0, 0.5), None, 1.0, 0.95) == "inconclusive"
    assert judge(Interval(0.0, -0.5, 1.0), None, 1.0, 0.95) == "inconclusive"
    assert judge(Interval(1.0, 0.5, 1.5), 1.0 - 0.95, 0.1, 0.95) == "inconclusive"


@pytest.mark.parametrize("number", range(20))
def test_holm_is_statsmodels(number: int) -> None:
    """With small and large ones, and with some that are equal, 0 or 1."""
    generator = np.random.Generator(np.random.PCG64(number))
    values = [*(generator.uniform(0, 1, number) ** 3).tolist(), 0.0, 1.0, 0.01, 0.01]
    generator.shuffle(values)
    assert holm(values) == pytest.approx(multipletests(values, method="holm")[1].tolist(), abs=1e-12)


def test_holm_with_ties_and_by_hand() -> None:
    assert holm([]) == []
    assert holm([0.04]) == [0.04]
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.5]) == [1.0, 1.0]


def to_one_baseline(count: int) -> list[list[float]]:
    """Each variant against the last one."""
    return [[float(row == column) for column in range(count)] + [-1.0] for row in range(count)]


def monte_carlo(p: float) -> float:
    """Four standard errors of a probability from the draws."""
    return float(4 * np.sqrt(max(p * (1 - p), 1e-6) / DRAWS) + 2 / DRAWS)


@pytest.mark.parametrize("seeds", [2, 3, 5, 12])
@pytest.mark.parametrize("p", [0.9, 0.3, 0.05, 0.01, 0.001])
def test_max_t_of_one_contrast_is_a_plain_t_test(seeds: int, p: float) -> None:
    statistic = float(stats.t.isf(p / 2, seeds - 1))
    for sign in (1, -1):
        assert max_t([sign * statistic], [[1.0, -1.0]], seeds)[0] == pytest.approx(p, abs=monte_carlo(p))


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_max_t_of_independent_contrasts_is_sidaks(seeds: int) -> None:
    """Contrasts that share no variant: 1 − (1 − p)^3 for the largest of three."""
    weights = [[1.0, -1.0, 0, 0, 0, 0], [0, 0, 1.0, -1.0, 0, 0], [0, 0, 0, 0, 1.0, -1.0]]
    p = 0.02
    found = max_t([float(stats.t.isf(p / 2, seeds - 1)), 0.0, 0.0], weights, seeds)
    expected = 1 - (1 - p) ** 3
    assert found[0] == pytest.approx(expected, abs=monte_carlo(expected))
    assert found[1:] == [1.0, 1.0]


@pytest.mark.parametrize("number", range(8))
def test_max_t_is_never_above_holm(number: int) -> None:
    generator = np.random.Generator(np.random.PCG64(number))
    count, seeds = int(generator.integers(2, 9)), int(generator.integers(2, 6))
    statistics = (generator.standard_t(seeds - 1, count) * 3).tolist()
    by_holm = holm([float(2 * stats.t.sf(abs(t), seeds - 1)) for t in statistics])
    found = max_t(statistics, to_one_baseline(count), seeds)
    for sharp, plain in zip(found, by_holm, strict=True):
        assert sharp <= plain + monte_carlo(plain)


def test_max_t_is_sharper_than_holm_for_many_variants_of_one_baseline() -> None:
    statistics = [3.5] * 10
    found = max_t(statistics, to_one_baseline(10), 6)[0]
    assert found < 0.8 * holm([float(2 * stats.t.sf(3.5, 5))] * 10)[0]


def test_max_t_keeps_the_order_and_steps_down() -> None:
    statistics = [1.0, -9.0, 3.0, 0.2]
    found = max_t(statistics, to_one_baseline(4), 4)
    assert sorted(range(4), key=lambda i: found[i]) == [1, 2, 0, 3]
    # The last one is tested alone, the first against all of them.
    assert found[3] == pytest.approx(float(2 * stats.t.sf(0.2, 3)), abs=0.02)
    assert found[2] < max_t([3.0, 3.0, 3.0, 3.0], to_one_baseline(4), 4)[0]


@settings(deadline=None, max_examples=15)
@given(st.permutations(range(5)))
def test_max_t_does_not_depend_on_the_order_of_the_variants(order: list[int]) -> None:
    statistics = [0.5, -2.5, 6.0, 1.5, -4.0]
    first = max_t(statistics, to_one_baseline(5), 3)
    again = max_t([statistics[i] for i in order], to_one_baseline(5), 3)
    for place, index in enumerate(order):
        assert again[place] == pytest.approx(first[index], abs=2 * monte_carlo(first[index]))


@pytest.mark.parametrize("correction", ["holm", "max-t"])
@pytest.mark.parametrize("seeds", [2, 3])
def test_the_family_wise_error_is_held(correction: str, seeds: int) -> None:
    """Six variants that do not differ from their baseline, which all of them share."""
    generator = np.random.Generator(np.random.PCG64(7))
    any_declared, uncorrected, sweeps = 0, 0, 600
    for _ in range(sweeps):
        values = generator.normal(0, 1, (seeds, 7))
        found = [difference(values[:, variant] - values[:, 6]) for variant in range(6)]
        adjusted = correct(found, correction)  # type: ignore[arg-type]
        any_declared += any(p < 0.05 for p in adjusted if p is not None)
        uncorrected += any(each.p < 0.05 for each in found if each.p is not None)
    assert any_declared / sweeps < 0.05 + 4 * (0.05 * 0.95 / sweeps) ** 0.5
    if correction == "max-t":  # exact, not only held
        assert any_declared / sweeps > 0.05 - 4 * (0.05 * 0.95 / sweeps) ** 0.5
    assert uncorrected / sweeps > 0.1


def difference(paired: Sequence[float]) -> Difference:
    interval = t_interval(list(paired), 0.95)
    return Difference(interval, len(paired), "", "seeds", p=interval.p)


def test_a_family_shares_its_baseline() -> None:
    """Differences to one variant are correlated by a half; max-T must know."""
    found = [difference([1.0 + n, 2.0, 3.5 - n]) for n in range(6)]
    statistics = [each.interval.mean / each.interval.error for each in found if each.interval and each.interval.error]
    assert correct(found, "max-t") == max_t(statistics, to_one_baseline(6), 3)


def test_corrections_leave_out_what_was_not_tested() -> None:
    tested, missing = difference([1.0, 2.0, 3.5]), Difference(None, reason="no seed has both scores")
    for correction in ("holm", "max-t", "none"):
        adjusted = correct([missing, tested, missing], correction)  # type: ignore[arg-type]
        assert (adjusted[0], adjusted[2]) == (None, None)
        assert adjusted[1] == pytest.approx(tested.p, abs=0.01)
    assert correct([missing], "max-t") == [None]
    assert correct([], "holm") == []


def test_max_t_needs_equal_seeds_and_else_holm_is_taken() -> None:
    three, two = difference([1.0, 2.0, 3.5]), difference([1.0, 2.0])
    assert correct([three, two], "max-t") == holm([three.p, two.p])  # type: ignore[list-item]
    mixed = Difference(three.interval, 3, "", "mixed", p=three.p)
    assert correct([three, mixed], "max-t") == holm([three.p, three.p])  # type: ignore[list-item]


def test_without_correction_p_stays() -> None:
    found = [difference([1.0, 2.0, 3.5]), difference([1.0, -2.0, 3.5])]
    assert correct(found, "none") == [each.p for each in found]


def test_an_adjusted_p_is_never_below_its_own() -> None:
    generator = np.random.Generator(np.random.PCG64(3))
    found = [difference(generator.normal(1, 1, 4)) for _ in range(5)]
    for correction in ("holm", "max-t"):
        for each, adjusted in zip(found, correct(found, correction), strict=True):  # type: ignore[arg-type]
            assert adjusted is not None
            assert adjusted >= each.p - monte_carlo(each.p)  # type: ignore[operator]
