from __future__ import annotations

from harness.data.microworld.objects import load_objects
from harness.data.microworld.records import (
    CAPTIONS,
    EXAMPLES_PER_DOCUMENT,
    TrainingRecord,
    captions,
    document,
    document_count,
    training_record,
)
from harness.data.microworld.scene import sample_scene, sign_pool

SCENES = [sample_scene(4, "train", index) for index in range(120)]
RECORDS = [training_record(scene, 4, index) for index, scene in enumerate(SCENES)]


def test_captions_are_five_and_differ() -> None:
    for index, scene in enumerate(SCENES):
        texts = captions(scene, 4, "train", index)
        assert len(texts) == len(set(texts)) == CAPTIONS
        assert all(text[0].isupper() and text.endswith(".") for text in texts)


def test_training_never_asks_for_an_untaught_fact_or_shows_a_held_out_sign() -> None:
    objects = load_objects()
    asked = 0
    for scene, record in zip(SCENES, RECORDS, strict=True):
        facts = [question for question in record.questions if question.task == "okvqa"]
        asked += len(facts)
        if all(not objects[index].taught for index in scene.counts):
            assert not facts
        assert scene.sign is None or sign_pool(scene.sign.text) == "train"
    assert asked > len(SCENES)


def test_a_picture_has_several_questions_of_several_tasks() -> None:
    assert min(len(record.questions) for record in RECORDS) >= 4
    assert {question.task for record in RECORDS for question in record.questions} == {"vqav2", "textvqa", "okvqa"}
    for record in RECORDS:
        texts = [question.text for question in record.questions]
        assert len(set(texts)) == len(texts)


def test_the_order_of_the_questions_tells_nothing() -> None:
    first = {record.questions[0].type for record in RECORDS}
    assert len(first) >= 6


def test_documents_are_aligned_and_of_one_task() -> None:
    names = [f"picture {index}" for index in range(len(RECORDS))]
    tasks = set()
    for index in range(document_count(len(RECORDS))):
        found = document(RECORDS, names, 4, index)
        tasks.add(found["task"])
        assert len(found["examples"]) == EXAMPLES_PER_DOCUMENT
        assert len(found["images"]) == len(found["texts"]) == 2 * EXAMPLES_PER_DOCUMENT
        assert all(
            (image is None) != (text is None) for image, text in zip(found["images"], found["texts"], strict=True)
        )
        shown = [found["images"][example["image"]] for example in found["examples"]]
        assert len(set(shown)) == EXAMPLES_PER_DOCUMENT
        for example in found["examples"]:
            record = RECORDS[names.index(found["images"][example["image"]])]
            for solved in example["solved"]:
                assert solved["task"] == found["task"]
                assert solved["answer"] in found["texts"][example["image"] + 1]
                if solved["task"] == "coco":
                    assert solved["answer"] in record.captions
                else:
                    assert (solved["question"], solved["answer"]) in {(q.text, q.answer) for q in record.questions}
    assert tasks == {"vqav2", "textvqa", "okvqa", "coco"}


def test_a_document_of_a_world_too_small_for_its_task_is_short() -> None:
    plain = TrainingRecord(("A dog.",), ())
    lengths = {len(document([plain], ["p"], 1, index)["examples"]) for index in range(30)}
    assert lengths == {1}
