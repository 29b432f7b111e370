from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
from scipy import stats

from harness.analysis.tables.means import ENOUGH_CELLS, Means, means, ranking_note

METRICS = {"vqav2": "vqa-always", "textvqa": "textvqa-m4c", "okvqa": "vqa-always", "coco": "cider-d"}
CEILINGS = {"vqav2": 80.0, "textvqa": 60.0, "okvqa": 55.0, "coco": 140.0}


def drawn(seeds: int) -> list[Mapping[str, float]]:
    chance = random.Random(seeds)
    return [{task: chance.uniform(10, 100) for task in METRICS} for _ in range(seeds)]


@pytest.mark.parametrize("seeds", [2, 3, 5, 7])
def test_the_interquartile_mean_is_scipys(seeds: int) -> None:
    scores = drawn(seeds)
    shares = [100 * score[task] / CEILINGS[task] for score in scores for task in METRICS]
    found = means(scores, METRICS, CEILINGS)
    assert found is not None
    assert found.iqm == pytest.approx(stats.trim_mean(shares, 0.25), abs=1e-10)


@pytest.mark.parametrize("count", [8, 9, 10, 11])
def test_the_interquartile_mean_cuts_as_scipy_does_whatever_the_number(count: int) -> None:
    chance = random.Random(count)
    scores = [{"vqav2": chance.uniform(0, 100)} for _ in range(count)]
    found = means(scores, {"vqav2": "vqa-always"}, {"vqav2": 100.0})
    assert found is not None
    assert found.iqm == pytest.approx(stats.trim_mean([score["vqav2"] for score in scores], 0.25), abs=1e-10)


def test_few_cells_have_no_interquartile_mean() -> None:
    found = means(drawn(1), METRICS, CEILINGS)
    assert found is not None
    assert len(METRICS) < ENOUGH_CELLS
    assert found.iqm is None
    assert found.normalised is not None


def test_the_means_by_hand() -> None:
    """CIDEr 120 of 1000 is 12 of 100; of a ceiling of 240 it is half."""
    scores = [{"vqav2": 40.0, "coco": 100.0}, {"vqav2": 60.0, "coco": 140.0}]
    found = means(scores, {"vqav2": "vqa-always", "coco": "cider-d"}, {"vqav2": 100.0, "coco": 240.0})
    assert found is not None
    assert (found.raw, found.macro, found.normalised) == (85.0, 31.0, 50.0)


def test_without_a_ceiling_nothing_is_normalised() -> None:
    found = means(drawn(4), METRICS, {"vqav2": 80.0})
    assert found is not None
    assert (found.normalised, found.iqm) == (None, None)
    assert means([], METRICS, CEILINGS) is None


def test_the_order_of_seeds_does_not_matter() -> None:
    scores = drawn(5)
    assert means(scores[::-1], METRICS, CEILINGS) == means(scores, METRICS, CEILINGS)


def test_a_ranking_that_depends_on_the_mean_is_said() -> None:
    captions, answers = Means(80.0, 40.0, 50.0, None), Means(60.0, 60.0, 40.0, None)
    note = ranking_note({"captions": captions, "answers": answers})
    assert "raw: captions > answers" in note
    assert "macro: answers > captions" in note
    assert "normalised" not in note


def test_a_ranking_that_does_not_is_not() -> None:
    first, second = Means(80.0, 60.0, None, None), Means(60.0, 40.0, None, None)
    assert ranking_note({"a": first, "b": second}) == ""
    assert ranking_note({"a": first}) == ""
    assert ranking_note({}) == ""
