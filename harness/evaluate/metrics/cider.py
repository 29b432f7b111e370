"""CIDEr-D (Vedantam et al. 2015) by pycocoevalcap's own scorer.

What papers call CIDEr is CIDEr-D times 100: tf-idf vectors of 1- to 4-grams, clipped, with a penalty on the difference
in length, mean over references and over n, times 10. Two things besides the captions decide the number and are named in
every result: the tokeniser, and the images that the document frequencies were counted on. Counted on a subset they
overstate the score (500 of 5,000 images: 96.5 where the full set gives 91.4), so whoever scores fewer images than there
are passes the frequencies of all of them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError
from harness.evaluate.metrics.ptb import java, ptb_tokenize
from harness.evaluate.metrics.ptb import tokenizer as python

_RAW_AT_MOST = 0.05
"""Share of captions given as tokens that the tokeniser may change: it need not be idempotent ("bat." from "bat.,")."""

NGram = tuple[str, ...]
Candidates = Mapping[Any, str | Sequence[str]] | Sequence[str]
References = Mapping[Any, Sequence[str]] | Sequence[Sequence[str]]


@dataclass(frozen=True)
class Tokenizer:
    """A way from texts to tokens, and the name it has in records."""

    version: str
    tokenize: Callable[[Sequence[str]], list[list[str]]]


TOKENIZERS: Mapping[str, Tokenizer] = {
    "python": Tokenizer(python.VERSION, lambda texts: [ptb_tokenize(text) for text in texts]),
    "java": Tokenizer(java.VERSION, java.java_ptb_tokenize),
    "none": Tokenizer("given-tokens", lambda texts: [text.split() for text in texts]),
}
"""``none`` is for captions that are tokens already, joined by spaces."""


def _find_tokenizer(name: str) -> Tokenizer:
    if name not in TOKENIZERS:
        raise HarnessError(
            f"There is no caption tokeniser called {name!r}.", remedy=f"Use one of: {', '.join(TOKENIZERS)}."
        )
    return TOKENIZERS[name]


def _tokenized(references: Mapping[Any, Sequence[str]], with_tokenizer: Tokenizer) -> dict[Any, list[str]]:
    """References as tokens joined by spaces; all texts go through the tokeniser in one call."""
    for image, captions in references.items():
        if isinstance(captions, str) or not captions:
            raise HarnessError(
                f"Image {image!r} needs a list of reference captions, and at least one.",
                remedy="Check the captions file: every evaluated image has at least one annotation.",
            )
    tokens = iter(with_tokenizer.tokenize([caption for captions in references.values() for caption in captions]))
    return {image: [" ".join(next(tokens)) for _ in captions] for image, captions in references.items()}


def _by_image(captions: Mapping[Any, Any] | Sequence[Any]) -> Mapping[Any, Any]:
    return captions if isinstance(captions, Mapping) else dict(enumerate(captions))


@dataclass(frozen=True)
class DocumentFrequencies:
    """In the references of how many images each n-gram (n = 1 to 4) occurs, out of ``num_images``."""

    counts: Mapping[NGram, int]
    num_images: int
    tokenizer: str
    """Version of the tokeniser that the references went through."""
    digest: str
    """16 hex digits over all reference tokens, independent of the order of images and captions."""

    @classmethod
    def from_references(cls, references: References, tokenizer: str = "python") -> DocumentFrequencies:
        """Count over ``references`` (image → captions), which is meant to be the whole set a benchmark defines."""
        from pycocoevalcap.cider.cider_scorer import precook

        chosen = _find_tokenizer(tokenizer)
        tokenized = _tokenized(_by_image(references), chosen)
        counts: Counter[NGram] = Counter()
        for captions in tokenized.values():
            counts.update({ngram for caption in captions for ngram in precook(caption)})
        content = json.dumps(sorted(sorted(captions) for captions in tokenized.values()))
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        return cls(counts, len(tokenized), chosen.version, digest)

    @property
    def source(self) -> str:
        """What the frequencies were counted on, for records."""
        return f"{self.num_images} images, sha256 {self.digest}"


@dataclass(frozen=True)
class CiderScores:
    """``score`` is the mean over images of ``per_image`` (image id → score); 0 to 10, tables show 100 times that."""

    score: float
    per_image: dict[Any, float]
    tokenizer: str
    """Version of the tokeniser."""
    document_frequencies: str
    """What the document frequencies were counted on."""


def _check_images(candidates: Mapping[Any, Any], references: Mapping[Any, Any]) -> None:
    if not candidates:
        raise HarnessError("CIDEr-D needs at least one caption to score.")
    for missing, message in (
        (references.keys() - candidates.keys(), "images with references have no caption"),
        (candidates.keys() - references.keys(), "captions are for images without references"),
    ):
        if missing:
            some = ", ".join(sorted(map(repr, missing))[:5])
            raise HarnessError(
                f"{len(missing)} {message}: {some}{', …' if len(missing) > 5 else ''}.",
                remedy="Score exactly the same images on both sides; to score a subset, leave the other images out of "
                "the references and pass DocumentFrequencies.from_references(ALL REFERENCES).",
            )


def _given_form(candidates: Mapping[Any, Any], references: Mapping[Any, Sequence[str]]) -> str:
    """``none`` (tokens already) for the form pycocoevalcap's tokeniser returns, image → [caption]; else ``python``.

    Its scorer takes that form as it is, raw or not, and raw captions in it cost 20 points in silence; so captions that
    tokenising would change are refused here.
    """
    if not all(isinstance(caption, Sequence) and not isinstance(caption, str) for caption in candidates.values()):
        return "python"
    texts = [*_texts(candidates), *(caption for captions in references.values() for caption in captions)]
    raw = [text for text in texts if " ".join(ptb_tokenize(text)) != text]
    if len(raw) > _RAW_AT_MOST * len(texts):
        raise HarnessError(
            f"Captions to score came as lists of one text, the form of tokenised captions, and {len(raw)} of all "
            f"{len(texts)} captions are not tokenised, such as {raw[0]!r}.",
            remedy='Give each caption to score as a plain text, or say tokenizer="python".',
        )
    return "none"


def _texts(candidates: Mapping[Any, str | Sequence[str]]) -> Iterable[str]:
    for image, caption in candidates.items():
        if isinstance(caption, str):
            yield caption
        elif len(caption) == 1 and isinstance(caption[0], str):
            yield caption[0]
        else:
            raise HarnessError(
                f"Image {image!r} has {len(caption)} candidate captions; CIDEr-D scores exactly one.",
                remedy="Give one text per image.",
            )


def _scorer_with(frequencies: DocumentFrequencies | None) -> Any:
    """pycocoevalcap's scorer, with its two corpus statistics replaced when ``frequencies`` are given."""
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    if frequencies is None:
        return CiderScorer()
    counts, log_num_images = frequencies.counts, math.log(frequencies.num_images)

    class FixedFrequencies(CiderScorer):
        # The scorer sets `ref_len` (the log of the number of images) to that of the scored images; it stays ours.
        ref_len = property(lambda self: log_num_images, lambda self, value: None)

        def compute_doc_freq(self) -> None:
            # Looked up with [], by which the scorer's own table would grow; a Counter gives 0 and stays as it is.
            self.document_frequency = Counter(counts)

    return FixedFrequencies()


def cider_d(
    candidates: Candidates,
    references: References,
    *,
    tokenizer: str | None = None,
    document_frequencies: DocumentFrequencies | None = None,
) -> CiderScores:
    """Score one caption an image against its reference captions.

    ``candidates`` maps image → text, ``references`` image → texts; two sequences in the same order do as well. Texts
    are raw and go through the Python tokeniser. Tokens joined by spaces are given in the form pycocoevalcap's
    tokeniser returns, image → [caption] on both sides, and taken as they are. ``tokenizer`` decides instead of the
    form: ``python``, ``java``, or ``none`` for tokens.

    Without ``document_frequencies`` they are counted on ``references``, as the official program does; a single image
    then scores 0. HarnessError when the two sides are not about the same images.
    """
    candidates, references = _by_image(candidates), _by_image(references)
    _check_images(candidates, references)
    chosen = _find_tokenizer(_given_form(candidates, references) if tokenizer is None else tokenizer)
    if document_frequencies is not None and document_frequencies.tokenizer != chosen.version:
        raise HarnessError(
            f"The document frequencies were counted on tokens of {document_frequencies.tokenizer}, the captions are "
            f"to be cut by {chosen.version}.",
            remedy="Give the same tokenizer to DocumentFrequencies.from_references and to cider_d.",
        )
    tokenized_references = _tokenized(references, chosen)
    tokenized_candidates = chosen.tokenize(list(_texts(candidates)))
    if document_frequencies is None:
        frequency_source = DocumentFrequencies.from_references(tokenized_references, tokenizer="none").source
    else:
        frequency_source = document_frequencies.source

    scorer = _scorer_with(document_frequencies)
    for image, tokens in zip(candidates, tokenized_candidates, strict=True):
        scorer += (" ".join(tokens), tokenized_references[image])
    scorer.compute_doc_freq()
    per_image = {image: float(score) for image, score in zip(candidates, scorer.compute_cider(), strict=True)}
    return CiderScores(math.fsum(per_image.values()) / len(per_image), per_image, chosen.version, frequency_source)
