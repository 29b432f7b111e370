"""The official COCO caption example; its data stand beside a working copy and are not part of the project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.evaluate.metrics import DocumentFrequencies, cider_d
from harness.evaluate.metrics.ptb import ptb_tokenize

DIRECTORY = Path(__file__).parents[3] / "shared" / "golden" / "coco_fakecap1000"
PUBLISHED = 0.5997905185

pytestmark = pytest.mark.skipif(
    not DIRECTORY.is_dir(), reason="the COCO caption example is not there (../shared/golden/coco_fakecap1000)"
)


def load(name: str) -> Any:
    return json.loads((DIRECTORY / name).read_text())


def test_published_score_from_the_given_tokens() -> None:
    references, candidates = load("gts.json"), load("res.json")
    scores = cider_d(candidates, references)
    assert scores.score == pytest.approx(PUBLISHED, abs=1e-9)
    assert len(scores.per_image) == 1000
    assert scores.tokenizer == "given-tokens"


def test_published_score_from_raw_candidates() -> None:
    raw = {str(entry["image_id"]): entry["caption"] for entry in load("captions_val2014_fakecap_results.json")}
    tokens = load("res.json")
    assert {image: " ".join(ptb_tokenize(caption)) for image, caption in raw.items()} == {
        image: caption for image, (caption,) in tokens.items()
    }


def test_subset_with_frequencies_of_the_whole_set() -> None:
    references, candidates = load("gts.json"), load("res.json")
    whole = cider_d(candidates, references)
    some = sorted(references)[:100]
    frequencies = DocumentFrequencies.from_references(references, tokenizer="none")
    subset = cider_d(
        {image: candidates[image] for image in some},
        {image: references[image] for image in some},
        document_frequencies=frequencies,
    )
    assert subset.per_image == {image: whole.per_image[image] for image in some}
    alone = cider_d({image: candidates[image] for image in some}, {image: references[image] for image in some})
    assert alone.score > subset.score + 0.01  # what counting on the subset would have claimed
