"""The simulation behind docs/calibration.md has the components it is told, and knows what is true of it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.analysis.samples.scores import TaskScores

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def simulated() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("simulated_scores")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def world(simulated: Any) -> Any:
    return simulated.load(BENCHMARKS / "components.json")


def test_the_components_put_in_are_those_measured(simulated: Any, world: Any) -> None:
    components = importlib.import_module("components")
    put_in = world.benchmarks["coco"].measured
    generator = np.random.Generator(np.random.SFC64(1))
    found = []
    for _ in range(40):  # what a question has in common differs from draw to draw
        drawn = world.draw(generator, 1, simulated.Scenario(variants=60, sets=0.02))
        scores = {
            task: [TaskScores("", world.questions[task], row[0], {}) for row in points[0]]
            for task, points in drawn.points.items()
        }
        found.append(components.measure(scores)["coco"])
    assert sqrt(np.mean([each.run for each in found])) == pytest.approx(sqrt(put_in.run), rel=0.05)
    assert np.mean([each.question for each in found]) == pytest.approx(put_in.question, rel=0.05)
    assert np.mean([each.answer for each in found]) == pytest.approx(put_in.answer, rel=0.05)
    assert np.mean([each.of_set for each in found]) > 0.005 * put_in.answer
    assert np.mean([each.of_image / each.answer for each in found]) == pytest.approx(
        put_in.of_image / put_in.answer, abs=0.01
    )


def test_a_share_of_variance_becomes_that_covariance(world: Any) -> None:
    """Two step functions of normals with correlation 0.3, drawn and by the series."""
    generator = np.random.default_rng(2)
    one = generator.standard_normal(400_000)
    other = 0.3 * one + sqrt(1 - 0.3**2) * generator.standard_normal(400_000)
    for benchmark in world.benchmarks.values():
        found = np.cov(benchmark.points(one), benchmark.points(other))[0, 1]
        assert found == pytest.approx(benchmark.covariance(0.3), rel=0.03)


def test_truths_are_what_scores_average_to(simulated: Any, world: Any) -> None:
    generator = np.random.Generator(np.random.SFC64(3))
    scenario = simulated.Scenario(variants=2, seeds=400, effects=(0.0, 0.4), own=0.2, seed_share=0.3)
    drawn = world.draw(generator, 3, scenario)
    means = np.mean([points.mean(-1) for points in drawn.points.values()], axis=0)
    # The deviation of a run is about 3 points, of the mean of 400 of them 0.15.
    assert means.mean(-1) == pytest.approx(drawn.expected["mean"], abs=0.6)
    assert (drawn.expected["mean"][:, 1] > drawn.expected["mean"][:, 0] + 5).all()
    many = world.draw(generator, 400, simulated.Scenario(variants=1, noise=(0.0,)))
    points = np.mean([points.mean() for points in many.points.values()])
    assert points == pytest.approx(many.population["mean"].mean(), abs=1.5)
