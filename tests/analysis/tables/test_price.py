from __future__ import annotations

import numpy as np
import pytest

from harness.analysis.samples.questions import Questions
from harness.analysis.samples.scored import Scored
from harness.analysis.samples.scores import TaskScores
from harness.analysis.statistics.power import Noise, detectable
from harness.analysis.tables.price import HOUR, best_questions, hour, question_variance


def asked(count: int) -> Questions:
    names = tuple(f"q{n:04d}" for n in range(count))
    return Questions("vqav2", names, names, tuple(n % 8 for n in range(count)), names, ("",) * count)


def answered(points: np.ndarray) -> list[TaskScores]:
    return [TaskScores("vqa-always", QUESTIONS, points, {})]


QUESTIONS = asked(400)


def test_an_hour_pays_whole_seeds_of_two_variants() -> None:
    noise = Noise(2.0, 9)
    assert hour(150.0, noise, 0.95, 0.8) == (12, detectable(2.0, 12, 0.95, 0.8))
    assert hour(HOUR, noise, 0.95, 0.8) == (0, None)
    assert hour(HOUR / 2, noise, 0.95, 0.8) == (1, None)
    assert hour(150.0, None, 0.95, 0.8) == (12, None)


@pytest.mark.parametrize("seed_noise", [0.0, 5.0])
def test_the_part_of_the_questions_is_found_whatever_the_trainings_add(seed_noise: float) -> None:
    """Each training answers each question with luck of its own: 40 points, so 40² / 400 in a mean, twice in a pair."""
    rng = np.random.default_rng(0)
    question, found = rng.normal(0, 30, 400), []
    for _ in range(200):
        one, two = (
            {seed: answered(question + rng.normal(0, seed_noise) + rng.normal(0, 40, 400)) for seed in range(3)}
            for _ in range(2)
        )
        variance = question_variance(Scored(one), Scored(two))
        assert variance is not None
        found.append(variance)
    assert np.mean(found) == pytest.approx(2 * 40**2 / 400, rel=0.03)


def test_one_common_seed_tells_nothing_of_it() -> None:
    one = {0: answered(np.zeros(400)), 1: answered(np.zeros(400))}
    assert question_variance(Scored(one), Scored({1: answered(np.ones(400)), 2: answered(np.ones(400))})) is None


def test_the_best_number_of_questions_has_the_lowest_price() -> None:
    training, evaluation, seeds, questions = 100.0, 20.0, 4.0, 8.0
    factor, saving = best_questions(training, evaluation, seeds, questions)

    def price(x: float) -> float:
        return (training + x * evaluation) * (seeds + questions / x)

    tried = [price(x) for x in np.linspace(0.05, 20, 4000)]
    assert price(factor) == pytest.approx(min(tried), rel=1e-4)
    assert saving == pytest.approx(1 - min(tried) / price(1.0), abs=1e-4)
    assert best_questions(0.0, 1.0, 1.0, 1.0) == (1.0, 0.0)
