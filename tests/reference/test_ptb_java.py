"""The Python tokeniser against the Java program on 50,000 strings, in one run of Java."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

from harness.evaluate.metrics.ptb import ptb_tokenize
from harness.evaluate.metrics.ptb.java import find_java, java_ptb_tokenize
from tests.evaluate.metrics.ptb.strings import documentation, generated

NUM_STRINGS = 50_000
NUM_FROM_DOCUMENTATION = 15_000
AGREEMENT = 0.9995
COCO = Path(__file__).parents[3] / "shared" / "golden" / "coco_fakecap1000"


def coco_captions() -> list[str]:
    """The captions of the official example, when it is there: raw candidates and (tokenised) references."""
    if not COCO.is_dir():
        return []
    candidates = json.loads((COCO / "captions_val2014_fakecap_results.json").read_text())
    references = json.loads((COCO / "gts.json").read_text())
    return [each["caption"] for each in candidates] + [
        caption for several in references.values() for caption in several
    ]


@pytest.mark.skipif(find_java() is None, reason="there is no Java on this machine")
def test_agrees_with_java() -> None:
    real = dict.fromkeys([*coco_captions(), *islice(documentation(), NUM_FROM_DOCUMENTATION)])
    texts = [*real, *generated(NUM_STRINGS - len(real))]
    assert len(texts) == NUM_STRINGS
    different = [
        (text, " ".join(tokens), " ".join(ptb_tokenize(text)))
        for text, tokens in zip(texts, java_ptb_tokenize(texts), strict=True)
        if tokens != ptb_tokenize(text)
    ]
    print(f"{len(real)} real and {len(texts) - len(real)} generated strings, {len(different)} cut differently")
    assert len(different) <= (1 - AGREEMENT) * NUM_STRINGS, different[:20]
