"""Intervals of samples that share images and demonstration sets, against closed forms and against truths drawn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.analysis.samples.questions import Questions
from harness.analysis.samples.values import Sample
from harness.analysis.statistics.intervals import clustered_interval, t_interval

SETS, EACH = 8, 25


def questions(task: str, images: list[int], sets: list[int]) -> Questions:
    count = len(images)
    names = tuple(f"{task} {image}" for image in images)
    return Questions(task, tuple(f"{n:04d}" for n in range(count)), names, tuple(sets), ("",) * count, ("",) * count)


def sample(values: NDArray[np.float64], asked: Questions) -> Sample:
    return Sample(values, asked, 0.0, 100.0)


def every_image_once(task: str = "one") -> Questions:
    return questions(task, list(range(SETS * EACH)), [n % SETS for n in range(SETS * EACH)])


def test_where_every_image_is_asked_once_it_is_students_t_over_the_sets() -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(50, 10, SETS * EACH) + 5 * np.tile(generator.normal(size=SETS), EACH)
    found = clustered_interval([sample(values, every_image_once())], 0.95)
    expected = t_interval(values.reshape(EACH, SETS).mean(0).tolist(), 0.95)
    assert found.mean == pytest.approx(expected.mean)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert found.degrees == pytest.approx(SETS - 1)


def test_a_benchmark_that_varies_ten_times_as_much_decides_the_degrees_of_the_mean() -> None:
    """Its eight sets do, not the sixteen of both."""
    generator = np.random.default_rng(2)
    small, large = generator.normal(0, 1, SETS * EACH), generator.normal(0, 10, SETS * EACH)
    large += 5 * np.tile(generator.normal(size=SETS), EACH)
    found = clustered_interval([sample(small, every_image_once()), sample(large, every_image_once("two"))], 0.95)
    alone = clustered_interval([sample(large, every_image_once("two"))], 0.95)
    assert found.error is not None
    assert alone.error is not None
    assert found.error == pytest.approx(alone.error / 2, rel=0.05)
    assert found.degrees == pytest.approx(SETS - 1, abs=0.5)


@pytest.mark.parametrize("of_sets", [0.0, 0.3])
def test_intervals_of_a_mean_of_unlike_benchmarks_cover(of_sets: float) -> None:
    """Of 1,000 at least 93 %, which one that covers 95 % undercuts once in 300. Joint sets covered 92 % of them."""
    generator, count, covered = np.random.default_rng(3), 1000, 0
    asked = [
        questions(task, generator.integers(0, 150, 200).tolist(), generator.integers(0, SETS, 200).tolist())
        for task in ("small", "large")
    ]
    for _ in range(count):
        samples = []
        for scale, each in zip((1.0, 8.0), asked, strict=True):
            images = np.unique(each.images, return_inverse=True)[1]
            values = generator.normal(size=200) + generator.normal(size=200)[images] * 0.5
            values += generator.normal(size=SETS)[list(each.sets)] * of_sets
            samples.append(sample(values * scale, each))
        found = clustered_interval(samples, 0.95)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.0 <= found.high
    assert covered / count >= 0.93
