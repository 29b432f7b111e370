from __future__ import annotations

from dataclasses import replace

from harness.evaluate.evaluation import Evaluation
from harness.evaluate.prompts import Prompt, Segment

from .tiny import TinyDataset, protocol

PROMPT = Prompt("7", "intact", 1, ("1",), (Segment("a.png", " Caption:", "dog"),), Segment("b.png", " Caption:"))


def test_digest_covers_everything_that_is_read() -> None:
    solved, query = PROMPT.demonstrations[0], PROMPT.query
    changed = [
        replace(PROMPT, demonstrations=(replace(solved, answer="cat"),)),
        replace(PROMPT, demonstrations=(replace(solved, prompt=" Question:"),)),
        replace(PROMPT, demonstrations=(replace(solved, image=None),)),
        replace(PROMPT, demonstrations=()),
        replace(PROMPT, demonstration_ids=("2",)),
        replace(PROMPT, query=replace(query, prompt="Caption:")),
        replace(PROMPT, query=replace(query, image="c.png")),
    ]
    digests = {each.sha256 for each in [PROMPT, *changed]}
    assert len(digests) == len(changed) + 1
    assert replace(PROMPT, sample_id="7", demonstration_set=1).sha256 == PROMPT.sha256


def test_known_digest() -> None:
    # Stays the same over versions: rows of old and new runs are compared by it.
    assert PROMPT.sha256 == KNOWN


KNOWN = "ed1c69b0230e5277141b944bf6f4463fa70c04cf0e3617909098ef371623fb3d"


def test_texts_of_questions_and_captions() -> None:
    prompt = Evaluation.prepare(protocol("vqav2"), TinyDataset()).prompts("intact")[0]  # type: ignore[arg-type]
    assert prompt.query.prompt.startswith(" Question: ")
    assert prompt.query.prompt.endswith("? Answer:")
    assert prompt.query.answer is None
    assert all(example.answer for example in prompt.demonstrations)
    caption = Evaluation.prepare(protocol("coco"), TinyDataset()).prompts("intact")[0]  # type: ignore[arg-type]
    assert caption.query.prompt == " Caption:"
