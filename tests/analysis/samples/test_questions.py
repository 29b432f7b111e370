from __future__ import annotations

from dataclasses import fields, replace

import pytest

from harness.analysis.samples.questions import Questions, clusters
from tests.analysis.synthetic import asked

ASKED = asked(["a", "b", "a"], [0, 1, 1])


def test_equal_means_equal_in_everything() -> None:
    again = asked(["a", "b", "a"], [0, 1, 1])
    assert again is not ASKED
    assert (again, hash(again), again.digest) == (ASKED, hash(ASKED), ASKED.digest)


@pytest.mark.parametrize("name", [field.name for field in fields(Questions)])
def test_a_difference_anywhere_is_a_difference(name: str) -> None:
    value = getattr(ASKED, name)
    other = "other" if name == "task" else (*value[:-1], 7 if name == "sets" else "other")
    assert replace(ASKED, **{name: other}) != ASKED


def test_text_that_runs_over_into_its_neighbour_is_another_question() -> None:
    assert asked(["ab", "c"]) != asked(["a", "bc"])


def test_clusters_are_numbered_by_name_and_pairs_are_pairs() -> None:
    found = clusters((ASKED,))
    assert found.images.tolist() == [0, 1, 0]
    assert found.sets.tolist() == [0, 1, 1]
    assert len(set(found.pairs.tolist())) == 3
    assert found.counts == (2, 2, 3)


def test_images_reach_over_benchmarks_and_sets_do_not() -> None:
    other = asked(["b", "c"], [0, 0], task="textvqa")
    found = clusters((ASKED, other))
    assert found.images.tolist() == [0, 1, 0, 1, 2]
    assert found.counts == (3, 3, 5)


def test_a_subset_keeps_what_belongs_together() -> None:
    questions = asked(["a", "b", "c"], [0, 1, 2], subsets=["x", "", "x"])
    found = questions.only("x")
    assert (found.ids, found.images, found.sets) == (("vqav2-00000", "vqav2-00002"), ("a", "c"), (0, 2))
    assert questions.where("x").tolist() == [True, False, True]
    assert len(questions.only("nothing")) == 0
