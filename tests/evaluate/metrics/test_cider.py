from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.evaluate.metrics import DocumentFrequencies, cider_d
from harness.evaluate.metrics.ptb import ptb_tokenize

REFERENCES = {
    "beach": ["A dog runs on the beach.", "The brown dog is running along a beach."],
    "kitchen": ["A man cooks in his kitchen.", "Somebody is cooking; it's a man."],
    "street": ["A red bus drives down the street.", "Two buses (one red) on a street.", "A bus."],
    "snow": ["Three people ski down a hill.", "People skiing in the snow."],
}
CANDIDATES = {
    "beach": "A dog is running on the beach!",
    "kitchen": "A man is cooking.",
    "street": "A red bus on the street",
    "snow": "Three people, skiing.",
}


def tokens(captions: dict[str, Any]) -> dict[str, Any]:
    def join(text: str) -> str:
        return " ".join(ptb_tokenize(text))

    return {
        image: [join(text) for text in ([entry] if isinstance(entry, str) else entry)]
        for image, entry in captions.items()
    }


def by_definition(candidate: str, references: list[str], corpus: list[list[str]]) -> float:
    """CIDEr-D of one image, written out from the paper and the comments of the official code."""

    def grams(text: str, n: int) -> Counter[tuple[str, ...]]:
        words = text.split()
        return Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))

    total = 0.0
    for n in (1, 2, 3, 4):

        def weighted(text: str, n: int = n) -> dict[tuple[str, ...], float]:
            return {
                gram: count
                * math.log(len(corpus) / max(1, sum(any(gram in grams(r, n) for r in refs) for refs in corpus)))
                for gram, count in grams(text, n).items()
            }

        for reference in references:
            ours, theirs = weighted(candidate), weighted(reference)
            product = sum(min(value, theirs.get(gram, 0.0)) * theirs.get(gram, 0.0) for gram, value in ours.items())
            norms = math.hypot(*ours.values()) * math.hypot(*theirs.values())
            difference = sum(grams(candidate, 2).values()) - sum(grams(reference, 2).values())
            total += (product / norms if norms else product) * math.exp(-(difference**2) / 72)
    return 10 * total / 4 / len(references)


def test_equals_the_definition() -> None:
    scores = cider_d(CANDIDATES, REFERENCES)
    candidates, references = tokens(CANDIDATES), tokens(REFERENCES)
    for image in REFERENCES:
        expected = by_definition(candidates[image][0], references[image], list(references.values()))
        assert scores.per_image[image] == pytest.approx(expected, abs=1e-9)
    assert scores.score == pytest.approx(sum(scores.per_image.values()) / 4, abs=1e-12)
    assert 0.5 < scores.score < 10


def test_equals_pycocoevalcap_called_as_it_means_to_be() -> None:
    from pycocoevalcap.cider.cider import Cider

    score, per_image = Cider().compute_score(tokens(REFERENCES), tokens(CANDIDATES))
    ours = cider_d(CANDIDATES, REFERENCES)
    assert ours.score == pytest.approx(score, abs=1e-12)
    assert list(ours.per_image.values()) == list(per_image)


def test_raw_texts_are_tokenised_and_tokens_are_taken_as_they_are() -> None:
    raw = cider_d(CANDIDATES, REFERENCES)
    for given in (
        cider_d(tokens(CANDIDATES), tokens(REFERENCES)),
        cider_d({image: [text] for image, text in CANDIDATES.items()}, REFERENCES, tokenizer="python"),
        cider_d(list(CANDIDATES.values()), list(REFERENCES.values())),
    ):
        assert list(given.per_image.values()) == list(raw.per_image.values())
    assert cider_d(CANDIDATES, REFERENCES, tokenizer="none").score < 0.8 * raw.score
    assert (raw.tokenizer, cider_d(tokens(CANDIDATES), tokens(REFERENCES)).tokenizer) == (
        "ptb-3.4.1-python-1",
        "given-tokens",
    )


@pytest.mark.parametrize("side", ["candidates", "references"])
def test_raw_texts_in_the_form_of_tokens_are_refused(side: str) -> None:
    candidates: dict[str, Any] = tokens(CANDIDATES)
    references: dict[str, Any] = tokens(REFERENCES)
    if side == "candidates":
        candidates = {image: [text] for image, text in CANDIDATES.items()}
    else:
        references = REFERENCES
    with pytest.raises(HarnessError, match="not tokenised"):
        cider_d(candidates, references)


def test_fixed_document_frequencies_make_a_subset_score_as_in_the_whole() -> None:
    whole = cider_d(CANDIDATES, REFERENCES)
    frequencies = DocumentFrequencies.from_references(REFERENCES)
    for image in REFERENCES:
        alone = cider_d({image: CANDIDATES[image]}, {image: REFERENCES[image]}, document_frequencies=frequencies)
        assert alone.per_image == {image: whole.per_image[image]}
        assert alone.document_frequencies == whole.document_frequencies
        assert cider_d({image: CANDIDATES[image]}, {image: REFERENCES[image]}).score == 0  # log(1 / 1)
    some = ["beach", "street"]
    counted_on_subset = cider_d({i: CANDIDATES[i] for i in some}, {i: REFERENCES[i] for i in some})
    assert counted_on_subset.per_image["beach"] != pytest.approx(whole.per_image["beach"], abs=1e-3)
    assert "2 images" in counted_on_subset.document_frequencies


def test_scoring_does_not_change_the_frequencies() -> None:
    frequencies = DocumentFrequencies.from_references(REFERENCES)
    before = dict(frequencies.counts)
    cider_d({"beach": "something never seen"}, {"beach": ["not seen either"]}, document_frequencies=frequencies)
    assert dict(frequencies.counts) == before
    assert frequencies.counts[("a", "dog")] == 1
    assert frequencies.counts[("a",)] == 4


def test_source_of_frequencies_is_their_content() -> None:
    frequencies = DocumentFrequencies.from_references(REFERENCES)
    shuffled = {image: REFERENCES[image][::-1] for image in reversed(REFERENCES)}
    assert DocumentFrequencies.from_references(shuffled) == frequencies
    assert frequencies.source == f"4 images, sha256 {frequencies.digest}"
    changed = REFERENCES | {"snow": ["Snow."]}
    assert DocumentFrequencies.from_references(changed).digest != frequencies.digest
    assert cider_d(CANDIDATES, REFERENCES).document_frequencies == frequencies.source


def test_frequencies_of_another_tokeniser_are_refused() -> None:
    frequencies = DocumentFrequencies.from_references(tokens(REFERENCES), tokenizer="none")
    with pytest.raises(HarnessError, match="given-tokens"):
        cider_d(CANDIDATES, REFERENCES, document_frequencies=frequencies)


@pytest.mark.parametrize(
    ("candidates", "references", "message"),
    [
        ({}, {}, "at least one"),
        ({"beach": "A dog."}, REFERENCES, "3 images with references have no caption"),
        (CANDIDATES | {"moon": "Dust."}, REFERENCES, "without references: 'moon'"),
        (CANDIDATES | {"snow": ["One.", "Two."]}, REFERENCES, "2 candidate captions"),
        (CANDIDATES, REFERENCES | {"snow": []}, "'snow' needs a list"),
        (CANDIDATES, REFERENCES | {"snow": "Snow."}, "'snow' needs a list"),
    ],
)
def test_sides_that_do_not_match_are_named(candidates: Any, references: Any, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        cider_d(candidates, references)


def test_unknown_tokeniser_lists_the_known_ones() -> None:
    with pytest.raises(HarnessError, match="python, java, none"):
        cider_d(CANDIDATES, REFERENCES, tokenizer="nltk")


def test_empty_captions_score_nothing_and_break_nothing() -> None:
    scores = cider_d(dict.fromkeys(REFERENCES, ""), REFERENCES)
    assert scores.score == 0
    assert cider_d({"a": "", "b": "?"}, {"a": [""], "b": ["."]}).score == 0
