from __future__ import annotations

import random
from collections import Counter
from itertools import count, islice

import pytest

from harness.data.microworld.annotators import Answer, alternatives, annotate
from harness.data.microworld.language import Question, fact_questions, text_questions, vqa_questions
from harness.data.microworld.objects import load_objects
from harness.data.microworld.scene import COLORS, POSITIONS, sample_scene
from harness.evaluate.metrics import vqa_accuracy

VARIANT = {"vqav2": "vqa-always", "okvqa": "vqa-always", "textvqa": "textvqa-m4c"}


def _questions(task: str, number: int) -> list[Question]:
    def all_questions() -> list[Question]:
        rng = random.Random(1)
        for index in count():
            scene = sample_scene(9, "test", index)
            found = {"vqav2": vqa_questions, "textvqa": text_questions}
            yield from found[task](scene, rng) if task in found else fact_questions(scene)

    return list(islice(all_questions(), number))


def _texts(answers: tuple[Answer, ...]) -> list[str]:
    return [answer.text for answer in answers]


@pytest.mark.parametrize("task", ["vqav2", "okvqa", "textvqa"])
def test_the_true_answer_scores_full_marks_mostly_but_not_always(task: str) -> None:
    questions = _questions(task, 600)
    scores = [
        vqa_accuracy(question.answer, _texts(annotate(question, str(number))), variant=VARIANT[task])
        for number, question in enumerate(questions)
    ]
    mean = sum(scores) / len(scores)
    assert 0.92 <= mean <= 0.975, mean
    assert 0.80 <= sum(score == 1 for score in scores) / len(scores) <= 0.95
    assert min(scores) >= 0.6


@pytest.mark.parametrize("task", ["vqav2", "okvqa", "textvqa"])
def test_every_question_has_ten_answers_and_none_beats_the_true_one(task: str) -> None:
    for number, question in enumerate(_questions(task, 400)):
        answers = annotate(question, str(number))
        counts = Counter(_texts(answers))
        assert len(answers) == 10
        assert counts[question.answer] == max(counts.values())
        # the first of equally frequent ones, as consensus takes it
        assert next(text for text in _texts(answers) if counts[text] == max(counts.values())) == question.answer
        assert {answer.confidence for answer in answers} <= {"yes", "maybe", "no"}


def test_ok_vqa_counts_five_people_twice_and_keeps_what_they_typed() -> None:
    typed_otherwise = 0
    for number, question in enumerate(_questions("okvqa", 300)):
        answers = annotate(question, str(number))
        assert answers[0::2] == answers[1::2]
        assert all(times % 2 == 0 for times in Counter(_texts(answers)).values())
        typed_otherwise += sum(answer.raw != answer.text for answer in answers)
        assert sum(answer.text == question.answer for answer in answers) >= 2
    assert typed_otherwise > 0


def test_people_spell_freely_and_disagree() -> None:
    questions = _questions("vqav2", 500)
    everyone = [annotate(question, str(number)) for number, question in enumerate(questions)]
    unanimous = sum(len(set(_texts(answers))) == 1 for answers in everyone) / len(everyone)
    assert 0.1 < unanimous < 0.6
    spelt = Counter(text for answers in everyone for text in _texts(answers))
    assert spelt["two"] > 0
    assert spelt["Yes"] + spelt["yes."] > 0
    assert any(text[:1].isupper() for text in spelt)


def test_answers_depend_on_the_question_and_its_key_alone() -> None:
    question = _questions("vqav2", 1)[0]
    random.seed(4)
    first = annotate(question, "a")
    random.seed(5)
    assert annotate(question, "a") == first
    assert len({annotate(question, str(number)) for number in range(20)}) > 10


def _every_kind_of_question() -> list[Question]:
    questions = [
        Question("vqav2", "what is at the", "What is at the top?", item.name, "other") for item in load_objects()
    ]
    questions += [Question("vqav2", "where is the", "Where is it?", position, "other") for position in POSITIONS]
    questions += [Question("vqav2", "what color is the", "What color?", color, "other") for color in COLORS]
    questions += [Question("vqav2", "is there", "Is there?", answer, "yes/no") for answer in ("yes", "no")]
    questions += [Question("vqav2", "how many", "How many?", str(number), "number") for number in range(1, 5)]
    questions += [
        Question("textvqa", "what", "What does it say?", text, "other") for text in ("11", "787", "exit", "free")
    ]
    for item in load_objects():
        for fact, opening in (("kind", "what kind of"), ("place", "where would you"), ("person", "who would")):
            questions.append(Question("okvqa", opening, "?", item.fact(fact), "other"))
    return questions


def test_there_is_always_something_else_to_say_and_it_never_counts_as_the_truth() -> None:
    for question in _every_kind_of_question():
        others = alternatives(question, random.Random(0))
        assert len(others) >= 4, question
        assert len(set(others)) == len(others)
        for other in others:
            # nine people say the other thing; the truth must gain nothing from them
            answers = [other] * 10
            assert vqa_accuracy(question.answer, answers, variant=VARIANT[question.task]) == 0, (question, other)
