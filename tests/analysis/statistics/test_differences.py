from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness.analysis.samples.scored import Scored
from harness.analysis.samples.scores import TaskScores
from harness.analysis.statistics.differences import Difference, contrast
from harness.analysis.statistics.intervals import clustered_interval
from harness.analysis.statistics.power import Noise
from harness.analysis.statistics.verdicts import judge
from tests.analysis.synthetic import asked, from_rows, sample, scored
from tests.synthetic import random_scores, rows

IMAGES = [f"i{number // 2}" for number in range(20)]
SETS = [number % 4 for number in range(20)]


def runs(seeds: Mapping[int, Sequence[float]], **options: Any) -> Scored:
    """By seed, the scores of one benchmark."""
    return Scored({seed: [scored(values, **options)] for seed, values in seeds.items()})


def minus(
    first: Mapping[int, list[TaskScores]], second: Mapping[int, list[TaskScores]], noise: Noise | None = None
) -> Difference:
    return contrast([(1.0, Scored(first)), (-1.0, Scored(second))], 0.95, noise)


def drawn(seed: int, count: int = 20, level: float = 50.0) -> list[float]:
    chance = random.Random(seed)
    return [level + chance.gauss(0, 10) for _ in range(count)]


def test_one_seed_is_the_sample_by_sample_difference_with_its_clusters() -> None:
    questions = asked(IMAGES, SETS)
    first, second = drawn(1), drawn(2)
    found = minus(runs({0: first}, questions=questions), runs({0: second}, questions=questions))
    paired = [one - two for one, two in zip(first, second, strict=True)]
    assert found.interval == clustered_interval([sample(paired, IMAGES, SETS, -100.0)], 0.95)
    assert (found.basis, found.seeds, found.deviation) == ("samples", 1, None)
    assert found.p == pytest.approx(found.interval.p)  # type: ignore[union-attr]


def test_the_scale_of_a_difference_reaches_both_ways() -> None:
    """20 equal CIDEr scores: the bound is a share of ± 1000, not of 1000."""
    one = runs({0: [5.0] * 20}, metric="cider-d")
    found = minus(one, one).interval
    assert found is not None
    reach = 1000 * (1 - 0.025 ** (1 / 20))
    assert (found.mean, found.low, found.high) == (0.0, pytest.approx(-reach), pytest.approx(reach))


def test_several_seeds_are_a_t_test_on_their_paired_means() -> None:
    first = {seed: drawn(seed, level=60) for seed in range(4)}
    second = {seed: drawn(seed + 100) for seed in range(4)}
    found = minus(runs(first), runs(second))
    paired = [np.mean(first[seed]) - np.mean(second[seed]) for seed in range(4)]
    expected = stats.ttest_1samp(paired, 0.0)
    assert (found.basis, found.seeds) == ("seeds", 4)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-10)
    assert found.deviation == pytest.approx(np.std(paired, ddof=1), abs=1e-10)
    low, high = expected.confidence_interval(0.95)
    assert (found.interval.low, found.interval.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))  # type: ignore[union-attr]


def test_an_interaction_is_a_t_test_on_the_difference_of_differences() -> None:
    cells = [{seed: drawn(10 * cell + seed) for seed in range(3)} for cell in range(4)]
    weights = [1.0, -1.0, -1.0, 1.0]
    found = contrast([(w, runs(cell)) for w, cell in zip(weights, cells, strict=True)], 0.95)
    values = [sum(w * np.mean(cell[s]) for w, cell in zip(weights, cells, strict=True)) for s in range(3)]
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue, abs=1e-10)


def test_a_contrast_of_four_takes_only_seeds_that_all_have() -> None:
    cells = [{seed: drawn(10 * cell + seed) for seed in range(3)} for cell in range(4)]
    del cells[2][1]
    found = contrast(
        [(1.0, runs(cells[0])), (-1.0, runs(cells[1])), (-1.0, runs(cells[2])), (1.0, runs(cells[3]))], 0.95
    )
    values = [np.mean(cells[0][s]) - np.mean(cells[1][s]) - np.mean(cells[2][s]) + np.mean(cells[3][s]) for s in (0, 2)]
    assert (found.seeds, found.basis) == (2, "seeds")
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue, abs=1e-10)


def test_benchmarks_count_alike_whatever_their_sizes() -> None:
    first = Scored({0: [scored([60.0, 70.0]), scored([10.0, 20.0, 30.0, 40.0])]})
    second = Scored({0: [scored([50.0, 50.0]), scored([10.0, 10.0, 10.0, 10.0])]})
    assert minus(first, second).interval.mean == (15.0 + 15.0) / 2  # type: ignore[union-attr]


def test_turning_the_difference_round_turns_its_sign_only() -> None:
    for seeds in (1, 3):
        first, second = ({s: drawn(s + at) for s in range(seeds)} for at in (0, 50))
        there, back = minus(runs(first), runs(second)), minus(runs(second), runs(first))
        assert there.interval is not None
        assert back.interval is not None
        assert (there.interval.mean, there.p) == (-back.interval.mean, back.p)
        assert (there.interval.low, there.interval.high) == (-back.interval.high, -back.interval.low)  # type: ignore[operator]


def test_a_difference_is_antisymmetric_in_a_mixed_model_too() -> None:
    first, second = {s: drawn(s) for s in (0, 1, 2)}, {s: drawn(s + 50) for s in (1, 2, 3, 4)}
    there, back = minus(runs(first), runs(second)), minus(runs(second), runs(first))
    assert (there.basis, back.basis, there.seeds) == ("mixed", "mixed", 2)
    assert there.interval.mean == pytest.approx(-back.interval.mean, abs=1e-6)  # type: ignore[union-attr]
    assert there.p == pytest.approx(back.p, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"prompt_sha256": "0" * 64}, "prompts differ"),
        ({"samples": 10}, "samples differ"),
        ({"metric": "vqa-2015"}, "metrics differ"),
        ({"demonstration_set": 9}, "demonstration sets"),
        ({"image_id": "other"}, "images"),
    ],
)
@pytest.mark.parametrize("seeds", [(0,), (0, 1), (1, 2)])
def test_scores_that_were_not_asked_the_same_are_refused(
    change: dict[str, Any], reason: str, seeds: tuple[int, ...]
) -> None:
    """With one seed, with several, and with seeds that differ between the two."""

    def evaluated(variant: str, seed: int, **options: Any) -> list[TaskScores]:
        return [from_rows(rows(variant, "vqav2", seed, random_scores(), **options))]

    first = {seed: evaluated("a", seed) for seed in (0, 1)}
    second = {seed: evaluated("b", seed, **(change if seed == seeds[-1] else {})) for seed in seeds}
    found = minus(first, second)
    assert (found.interval, found.p, found.verdict) == (None, None, None)
    assert found.reason.startswith("not comparable: ")
    assert reason in found.reason


def test_without_a_common_seed_or_any_there_is_no_difference() -> None:
    one = runs({0: drawn(0)})
    for first, second in ((one, runs({1: drawn(1)})), (one, {}), ({}, one), ({}, {})):
        found = minus(first, second)
        assert (found.interval, found.reason) == (None, "no seed has both scores")


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_equal_scores_differ_by_less_than_a_bound_not_by_nothing(seeds: int) -> None:
    same = runs({seed: drawn(seed) for seed in range(seeds)})
    found = minus(same, same)
    assert found.interval is not None
    assert found.interval.mean == 0.0
    assert found.p == 1.0
    assert found.interval.low is not None
    assert found.interval.low < -1
    assert judge(found.interval, found.p, 1.0, 0.95) == "inconclusive"


def test_a_difference_that_is_the_same_everywhere_up_to_rounding_has_a_width() -> None:
    """0.1 + 0.2 is not 0.3: what varies in the sixteenth digit does not vary."""
    second = [float(number) for number in range(20)]
    first = [value + 0.1 + 0.2 for value in second]
    assert len({one - two for one, two in zip(first, second, strict=True)}) > 1
    found = minus(runs({0: first}), runs({0: second})).interval
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low > 10


def test_where_every_image_has_one_of_each_the_interval_has_a_width() -> None:
    """One answer better and one worse about each image: no image differs from the mean, and that is no certainty."""
    for sets in ([0] * 20, SETS, [number // 2 % 2 for number in range(20)]):
        questions = asked(IMAGES, sets)
        found = minus(runs({0: [10.0, 0.0] * 10}, questions=questions), runs({0: [5.0] * 20}, questions=questions))
        assert found.interval is not None
        assert found.interval.high > found.interval.low + 1  # type: ignore[operator]
        assert found.p is not None
        assert found.p > 0.5


def test_seeds_whose_means_agree_are_judged_by_their_samples() -> None:
    """[10, 0] and [0, 10] have one mean; a t interval of the two seeds would have no width."""
    first = runs({0: [10.0, 0.0] * 10, 1: [0.0, 10.0] * 10})
    second = runs({0: [0.0] * 20, 1: [0.0] * 20})
    found = minus(first, second)
    assert (found.basis, found.seeds) == ("samples", 2)
    assert found.interval is not None
    assert found.interval.high > found.interval.low + 1  # type: ignore[operator]


@pytest.mark.parametrize("noise", [None, Noise(0.1, 50)])
@pytest.mark.parametrize("count", [1, 6])
def test_one_image_decides_nothing(noise: Noise | None, count: int) -> None:
    """However large the difference and however small the noise of seeds."""
    questions = asked(["the only one"] * count)
    values = [90.0 + number for number in range(count)]
    found = minus(runs({0: values}, questions=questions), runs({0: [0.0] * count}, questions=questions), noise)
    assert found.judged is not None
    assert found.p is None or found.p == 1.0
    assert judge(found.judged, found.p, 1.0, 0.95) == "inconclusive"


def test_one_demonstration_set_leaves_the_clusters_of_images() -> None:
    first, second = drawn(1), drawn(2)
    one = minus(
        runs({0: first}, questions=asked(IMAGES, [3] * 20)), runs({0: second}, questions=asked(IMAGES, [3] * 20))
    )
    assert one.interval is not None
    assert one.interval.degrees == len(set(IMAGES)) - 1


def test_known_seed_noise_is_a_floor_for_one_seed() -> None:
    """Both runs carry the noise: the floor is t(degrees) · deviation · √2."""
    first, second = drawn(1, level=55), drawn(2)
    plain = minus(runs({0: first}), runs({0: second}))
    quiet = minus(runs({0: first}), runs({0: second}), Noise(0.01, 10))
    loud = minus(runs({0: first}), runs({0: second}), Noise(20.0, 10))
    reach = stats.t.ppf(0.975, 10) * 20.0 * sqrt(2)
    assert loud.floor == pytest.approx(reach, abs=1e-9)
    assert loud.interval == plain.interval
    assert loud.judged is not None
    assert loud.judged.low == pytest.approx(loud.judged.mean - reach)
    assert loud.p == pytest.approx(2 * stats.t.sf(abs(loud.judged.mean) / (20 * sqrt(2)), 10), abs=1e-10)
    assert quiet.p == plain.p
    assert quiet.judged is not None
    assert plain.interval is not None
    assert quiet.judged.high == pytest.approx(plain.interval.high)


def test_seed_noise_is_not_added_where_seeds_measure_it() -> None:
    first, second = ({s: drawn(s + at) for s in range(3)} for at in (0, 50))
    assert minus(runs(first), runs(second), Noise(20.0, 10)) == minus(runs(first), runs(second))


@pytest.mark.parametrize("seconds", [(0, 1), (2, 3), (0, 1, 2, 3), (0,), (5,)])
def test_unequal_seeds_without_any_variance_are_not_certain(seconds: tuple[int, ...]) -> None:
    """Means of the seeds that are all one say nothing about another seed; neither do differences that are all one."""
    first = runs({seed: [60.0, 40.0] * 10 for seed in (0, 1, 2)})
    for step in (0.0, 5.0):
        second = runs({seed: [40.0 + step, 60.0 + step] * 10 for seed in seconds})
        found = minus(first, second)
        assert found.interval is not None
        if found.seeds:  # the samples of the seeds that both have are what is left to judge by
            assert found.basis == "samples"
            assert found.interval.high > found.interval.low + 1  # type: ignore[operator]
        else:
            assert (found.interval.low, found.interval.high, found.p) == (None, None, None)


def test_the_order_of_the_seeds_does_not_matter() -> None:
    first, second = ({s: drawn(s + at) for s in range(4)} for at in (0, 50))
    again = minus(runs(dict(reversed(first.items()))), runs(dict(reversed(second.items()))))
    assert again == minus(runs(first), runs(second))
