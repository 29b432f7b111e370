from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.evaluate.conditions import Derangement, conditions
from harness.evaluate.evaluation import Evaluation

from .tiny import TinyDataset, protocol


def evaluation(**changes: object) -> Evaluation:
    return Evaluation.prepare(protocol(**changes), TinyDataset())  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [2, 3, 17])
def test_derangement_moves_every_image_and_loses_none(count: int) -> None:
    images = [f"{number}.png" for number in range(count)]
    replaced = Derangement(images, lambda image: image)
    assert all(replaced[image] != image for image in images)
    assert sorted(replaced.values()) == sorted(images)


def test_derangement_does_not_replace_a_picture_by_its_copy() -> None:
    images = ["a", "b", "copy of b", "c"]
    content = {"a": "A", "b": "B", "copy of b": "B", "c": "C"}
    replaced = Derangement(images, content.__getitem__)
    assert all(content[replaced[image]] != content[image] for image in images)


def test_one_picture_cannot_be_shuffled() -> None:
    with pytest.raises(HarnessError, match="only one picture"):
        Derangement(["a", "b"], lambda _: "same")["a"]


def test_conditions_in_order_and_checked() -> None:
    assert conditions(["majority", "withheld"]) == ("intact", "withheld", "majority")
    assert conditions([]) == ("intact",)
    with pytest.raises(HarnessError, match="blurred"):
        conditions(["blurred"])


def test_shuffled_images_are_never_the_own_ones_demonstrations_included() -> None:
    checked = evaluation()
    for intact, shuffled in zip(checked.prompts("intact"), checked.prompts("shuffled"), strict=True):
        assert len(intact.images) == len(shuffled.images) == 3
        assert all(own != other for own, other in zip(intact.images, shuffled.images, strict=True))
        assert len(set(shuffled.images)) == 3
        assert [e.answer for e in intact.demonstrations] == [e.answer for e in shuffled.demonstrations]
        assert shuffled.query.image is not None
        assert shuffled.query.image.startswith("test/")
        assert all(str(e.image).startswith("support/") for e in shuffled.demonstrations)


def test_shuffling_does_not_depend_on_how_many_are_evaluated() -> None:
    few = {prompt.sample_id: prompt for prompt in evaluation(samples=5).prompts("shuffled")}
    many = {prompt.sample_id: prompt for prompt in evaluation(samples=20).prompts("shuffled")}
    assert all(many[id] == few[id] for id in few)


def test_shuffling_shows_hardly_any_image_that_is_not_shown_anyway() -> None:
    checked = evaluation(samples=10)
    shown = {prompt.query.image for prompt in checked.prompts("intact")}
    assert len({prompt.query.image for prompt in checked.prompts("shuffled")} - shown) == 1


def test_withheld_images_are_left_out_everywhere() -> None:
    checked = evaluation()
    for intact, withheld in zip(checked.prompts("intact"), checked.prompts("withheld"), strict=True):
        assert withheld.images == ()
        assert withheld.query.prompt == intact.query.prompt
        assert withheld.demonstration_ids == intact.demonstration_ids
