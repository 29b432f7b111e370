from __future__ import annotations

from collections import Counter

import pytest

from harness.data.microworld.questions import Asked, select_facts, select_text, select_vqa
from harness.data.microworld.scene import sample_scene

SCENES = [sample_scene(2, "test", index) for index in range(200)]


@pytest.fixture(scope="module")
def vqa() -> list[Asked]:
    return select_vqa(2, "test", SCENES)


@pytest.fixture(scope="module")
def facts() -> list[Asked]:
    return select_facts(2, "test", SCENES)


def test_an_image_has_at_most_two_different_questions(vqa: list[Asked], facts: list[Asked]) -> None:
    for asked in (vqa, facts):
        assert max(Counter(item.scene for item in asked).values()) == 2
        assert len({(item.scene, item.question.type) for item in asked}) == len(asked)
        assert len({item.scene for item in asked}) > 190


def test_yes_no_is_at_most_a_quarter_and_even(vqa: list[Asked]) -> None:
    answers = Counter(item.question.answer for item in vqa if item.question.answer_type == "yes/no")
    assert sum(answers.values()) <= len(vqa) / 4
    assert sum(answers.values()) > len(vqa) / 8
    assert abs(answers["yes"] - answers["no"]) <= 1


def test_no_answer_of_a_type_can_be_guessed(vqa: list[Asked], facts: list[Asked]) -> None:
    types = Counter(item.question.type for item in vqa)
    for name, limit in (
        ("how many", 0.35),
        ("what is at the", 0.1),
        ("what color is the", 0.2),
        ("where is the", 0.25),
    ):
        answers = Counter(item.question.answer for item in vqa if item.question.type == name)
        assert max(answers.values()) / types[name] <= limit, (name, answers)
    kinds = Counter(item.question.answer for item in facts if item.question.type == "what kind of")
    assert max(kinds.values()) / sum(kinds.values()) <= 0.2


def test_half_of_the_fact_questions_are_untaught_and_none_in_the_support_pool(facts: list[Asked]) -> None:
    subsets = Counter(item.question.subset for item in facts)
    assert abs(subsets["untaught_facts"] / len(facts) - 0.5) < 0.03
    support = select_facts(2, "support", [sample_scene(2, "support", index) for index in range(60)])
    assert {item.question.subset for item in support} == {""}
    assert len(support) > 40


def test_every_sign_is_asked_for_once() -> None:
    asked = select_text(2, "test", SCENES)
    assert [item.scene for item in asked] == [index for index, scene in enumerate(SCENES) if scene.sign]
    assert sum(item.question.subset == "unseen_signs" for item in asked) >= len(asked) / 2


def test_the_choice_depends_on_the_scenes_alone(vqa: list[Asked]) -> None:
    assert select_vqa(2, "test", SCENES) == vqa
    assert select_vqa(3, "test", SCENES) != vqa
