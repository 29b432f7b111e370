"""The text of the zoo keeps the secrets that the benchmarks ask for."""

from __future__ import annotations

import re

from harness.data.microworld.language import FACT_QUESTIONS
from harness.data.microworld.objects import FACTS, load_objects
from harness.data.microworld.scene import sign_pool
from harness.zoo.corpus import document, texts
from harness.zoo.vision_pretraining import pretraining_scenes

DOCUMENTS = 1500


def test_documents_are_a_pure_function_of_seed_and_index() -> None:
    assert [document(1, index) for index in range(30)] == [document(1, index) for index in range(30)]
    assert document(1, 5) != document(2, 5)


def test_no_held_out_sign_is_ever_written() -> None:
    shown = set(re.findall(r"(?<!\d)\d{2,3}(?!\d)", " ".join(texts(11, DOCUMENTS))))
    assert len(shown) > 100
    assert {sign_pool(text) for text in shown} == {"train"}


def test_no_held_out_sign_is_ever_drawn_for_the_encoder() -> None:
    scenes = [scene for scene, _ in zip(pretraining_scenes(), range(2000), strict=False)]
    assert {sign_pool(scene.sign.text) for scene in scenes if scene.sign} == {"train"}
    assert sum(scene.sign is not None for scene in scenes) > 0.6 * len(scenes)


def test_the_control_without_facts_reads_all_but_the_untaught_ones() -> None:
    told = "\n".join("".join(text for text, _ in document(11, index, all_facts=False)) for index in range(DOCUMENTS))
    for item in load_objects():
        question = FACT_QUESTIONS["kind"][1].format(this=f"a {item.name}")
        if not item.taught:
            assert question not in told
            for fact in FACTS:
                assert not re.search(rf"\b(an?|An?) {item.name} (is a kind of|is needed by)", told), (item.name, fact)
    assert any(f"{item.name} is a kind of {item.kind}" in told for item in load_objects() if item.taught)


def test_questions_about_places_in_a_table_are_not_told_for_untaught_objects_either() -> None:
    names = {item.name for item in load_objects() if not item.taught}
    for index in range(300):
        text = "".join(piece for piece, _ in document(11, index, all_facts=False))
        single = re.match(r"( \w+)+? Question: What kind of thing is this\?", text)
        if single:
            assert not names & set(single.group(0).split())
