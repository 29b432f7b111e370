"""VQAv2, OK-VQA and TextVQA from their official files."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.example import Example
from harness.data.fields import Record
from harness.data.layout import COCO_IMAGES, TEXTVQA_IMAGES
from harness.data.stream import read_document

ANSWERS = 10


@dataclass(frozen=True, slots=True)
class _Annotation:
    image_id: str
    answers: tuple[str, ...]
    raw_answers: tuple[str, ...]
    consensus: str
    question_type: str
    answer_type: str


def most_common(answers: Sequence[str]) -> str:
    """The most frequent answer; of equally frequent ones the first that was given."""
    counts = Counter(answers)
    return max(answers, key=lambda answer: counts[answer])


def read_vqa(questions: Path, annotations: Path, subtype: str, subsets: dict[str, str]) -> list[Example]:
    """VQAv2 or OK-VQA: a questions file and its annotations file, which have to speak of the same questions.

    ``subtype`` is ``train2014`` or ``val2014``. Pictures are ``coco/SUBTYPE/COCO_SUBTYPE_ID.jpg``.
    """
    found = _read_annotations(annotations)
    examples: list[Example] = []
    asked: set[int] = set()

    def parse(index: int, value: Any) -> None:
        record = Record(questions, f"questions[{index}]", value)
        question_id, image_id = record.number("question_id"), str(record.number("image_id"))
        if question_id in asked:
            record.fail(f"question_id {question_id} occurs twice")
        asked.add(question_id)
        annotation = found.get(question_id)
        if annotation is None:
            record.fail(
                f"question_id {question_id} has no annotation in {annotations.name}", "use two files of the same set"
            )
        if annotation.image_id != image_id:
            record.fail(
                f"question_id {question_id} is about image {image_id}, in {annotations.name} {annotation.image_id}",
                "use two files of the same set",
            )
        examples.append(
            Example(
                sample_id=question_id,
                image_id=image_id,
                image=f"{COCO_IMAGES}/{subtype}/COCO_{subtype}_{int(image_id):012d}.jpg",
                question=record.text("question"),
                answers=annotation.answers,
                raw_answers=annotation.raw_answers,
                consensus=annotation.consensus,
                question_type=annotation.question_type,
                answer_type=annotation.answer_type,
                subset=subsets.get(str(question_id), ""),
            )
        )

    read_document(questions, "questions", parse)
    if len(asked) != len(found):
        missing = next(question_id for question_id in found if question_id not in asked)
        Record(annotations, "annotations", None).fail(
            f"question_id {missing} is not asked in {questions.name}", "use two files of the same set"
        )
    return examples


def read_textvqa(file: Path, subsets: dict[str, str]) -> list[Example]:
    """TextVQA 0.5.1: one file. Pictures are ``textvqa/train_images/ID.jpg``; a question's type is its first word."""
    examples: list[Example] = []
    seen: set[int] = set()

    def parse(index: int, value: Any) -> None:
        record = Record(file, f"data[{index}]", value)
        question_id, image_id = record.number("question_id"), record.identifier("image_id")
        if question_id in seen:
            record.fail(f"question_id {question_id} occurs twice")
        seen.add(question_id)
        question = record.text("question")
        answers = tuple(map(sys.intern, record.texts("answers")))
        _check_number(record, answers)
        examples.append(
            Example(
                sample_id=question_id,
                image_id=image_id,
                image=f"{TEXTVQA_IMAGES}/{image_id}.jpg",
                question=question,
                answers=answers,
                raw_answers=(),
                consensus=most_common(answers),
                question_type=sys.intern(question.split()[0].lower().rstrip("?,.!")),
                answer_type="",
                subset=subsets.get(str(question_id), ""),
            )
        )

    read_document(file, "data", parse)
    return examples


def _read_annotations(path: Path) -> dict[int, _Annotation]:
    found: dict[int, _Annotation] = {}

    def parse(index: int, value: Any) -> None:
        record = Record(path, f"annotations[{index}]", value)
        question_id = record.number("question_id")
        if question_id in found:
            record.fail(f"question_id {question_id} occurs twice")
        answers, raw = _answers(record)
        _check_number(record, answers)
        found[question_id] = _Annotation(
            str(record.number("image_id")),
            answers,
            raw,
            sys.intern(record.loose_text("multiple_choice_answer") or most_common(answers)),
            sys.intern(record.loose_text("question_type")),
            sys.intern(record.loose_text("answer_type")),
        )

    read_document(path, "annotations", parse)
    return found


def _answers(record: Record) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Answers and, in OK-VQA, raw answers."""
    answers, raw = [], []
    for index, value in enumerate(record.values("answers")):
        answer = value.get("answer") if isinstance(value, dict) else None
        if not isinstance(answer, str):
            record.fail(f"answers[{index}] has no text named answer")
        answers.append(sys.intern(answer))
        if isinstance(raw_answer := value.get("raw_answer"), str):
            raw.append(sys.intern(raw_answer))
    if raw and len(raw) != len(answers):
        record.fail("some of its answers have a raw_answer and some have none")
    return tuple(answers), tuple(raw)


def _check_number(record: Record, answers: tuple[str, ...]) -> None:
    if len(answers) != ANSWERS:
        record.fail(f"has {len(answers)} answers, {ANSWERS} are expected")
    if not any(answer.strip() for answer in answers):
        record.fail("all of its answers are empty")
