from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data.vqa import most_common, read_textvqa, read_vqa
from harness.errors import HarnessError

ANSWERS = ["net"] * 6 + ["bag", "bag", "", "a net"]


def _question(question_id: int = 42000, image_id: int = 42, **other: Any) -> dict[str, Any]:
    return {"image_id": image_id, "question": "What is this?", "question_id": question_id, **other}


def _annotation(question_id: int = 42000, image_id: int = 42, **other: Any) -> dict[str, Any]:
    answers = [
        {"answer": text, "answer_confidence": "yes", "answer_id": number} for number, text in enumerate(ANSWERS, 1)
    ]
    return {
        "question_type": "what is this",
        "multiple_choice_answer": "net",
        "answers": answers,
        "image_id": image_id,
        "answer_type": "other",
        "question_id": question_id,
        **other,
    }


def _files(folder: Path, questions: list[Any], annotations: list[Any]) -> tuple[Path, Path]:
    (folder / "q.json").write_text(json.dumps({"info": {}, "license": {}, "questions": questions}))
    (folder / "a.json").write_text(json.dumps({"info": {}, "annotations": annotations, "license": {}}))
    return folder / "q.json", folder / "a.json"


def test_an_example_has_everything_in_the_order_of_the_questions(tmp_path: Path) -> None:
    questions = [_question(7000, 7), _question()]
    raw = [{**answer, "raw_answer": f"raw {answer['answer']}"} for answer in _annotation()["answers"]]
    annotations = [_annotation(), _annotation(7000, 7, answers=raw, multiple_choice_answer="bag")]
    first, second = read_vqa(*_files(tmp_path, questions, annotations), "val2014", {"7000": "hard"})
    assert (first.sample_id, first.image_id, first.subset, first.consensus) == (7000, "7", "hard", "bag")
    assert first.raw_answers[0] == "raw net"
    assert second.image == "coco/val2014/COCO_val2014_000000000042.jpg"
    assert second.answers == tuple(ANSWERS)
    assert (second.raw_answers, second.subset) == ((), "")
    assert (second.question, second.question_type, second.answer_type) == ("What is this?", "what is this", "other")


def test_without_a_choice_of_the_file_the_most_common_answer_counts(tmp_path: Path) -> None:
    annotation = _annotation()
    del annotation["multiple_choice_answer"]
    (example,) = read_vqa(*_files(tmp_path, [_question()], [annotation]), "val2014", {})
    assert example.consensus == "net"
    assert most_common(["b", "a", "a", "b", "c"]) == "b"


WRONG: list[tuple[list[Any], list[Any], str]] = [
    (
        [_question(), _question(43000, 43)],
        [_annotation()],
        r"q\.json: questions\[1\]: question_id 43000 has no annotation",
    ),
    ([_question()], [_annotation(), _annotation(43000, 43)], r"a\.json: .*question_id 43000 is not asked"),
    ([_question()], [_annotation(), _annotation()], r"a\.json: annotations\[1\]: question_id 42000 occurs twice"),
    ([_question(), _question()], [_annotation()], r"q\.json: questions\[1\]: question_id 42000 occurs twice"),
    ([_question(image_id=43)], [_annotation()], "about image 43"),
    ([_question(question=None)], [_annotation()], "question is None, text is expected"),
    ([_question(question="  ")], [_annotation()], "question is empty"),
    ([_question("42000")], [_annotation()], "question_id is '42000', a whole number is expected"),
    ([_question(-1)], [_annotation(-1)], "negative"),
    ([_question(True)], [_annotation(True)], "whole number"),
    (["nothing"], [_annotation()], r"questions\[0\]: is 'nothing', an object is expected"),
    ([{"question": "What?"}], [_annotation()], "has no question_id"),
    ([_question()], [_annotation(answers=_annotation()["answers"][:9])], r"annotations\[0\]: has 9 answers"),
    ([_question()], [_annotation(answers=["net"] * 10)], r"answers\[0\] has no text named answer"),
    ([_question()], [_annotation(answers=[{"answer": 3}] * 10)], r"answers\[0\] has no text"),
    ([_question()], [_annotation(answers={"a": 1})], "answers is {'a': 1}, a list is expected"),
    ([_question()], [_annotation(answers=[{"answer": " "}] * 10)], "all of its answers are empty"),
    (
        [_question()],
        [_annotation(answers=[{"answer": "a", "raw_answer": "b"}] * 9 + [{"answer": "a"}])],
        "some have none",
    ),
]


@pytest.mark.parametrize(("questions", "annotations", "message"), WRONG)
def test_wrong_records_are_named(tmp_path: Path, questions: list[Any], annotations: list[Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message) as caught:
        read_vqa(*_files(tmp_path, questions, annotations), "val2014", {})
    assert caught.value.remedy


def _text(**other: Any) -> dict[str, Any]:
    return {
        "question_id": 34602,
        "question": "What, exactly, is written?",
        "image_id": "0f3a",
        "answers": ANSWERS,
        **other,
    }


def test_textvqa_examples(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"dataset_name": "textvqa", "data": [_text(), _text(question_id=34603)]}))
    first, second = read_textvqa(path, {"34603": "unseen_signs"})
    assert (first.image, first.image_id) == ("textvqa/train_images/0f3a.jpg", "0f3a")
    assert (first.consensus, first.question_type, first.subset) == ("net", "what", "")
    assert second.subset == "unseen_signs"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (_text(answers=ANSWERS[:3]), "has 3 answers, 10 are expected"),
        (_text(answers=[1] * 10), r"answers\[0\] is 1"),
        (_text(image_id="../../etc"), "cannot name a file"),
        (_text(image_id=None), "cannot name a file"),
        (_text(question_id=None), "question_id is None"),
        ({key: value for key, value in _text().items() if key != "answers"}, "has no answers"),
    ],
)
def test_wrong_textvqa_records_are_named(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"data": [_text(question_id=1), record]}))
    with pytest.raises(HarnessError, match=rf"t\.json: data\[1\]: .*{message}"):
        read_textvqa(path, {})
