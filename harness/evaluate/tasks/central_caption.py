"""The caption that resembles all captions of a pool most: the best blind answer CIDEr knows of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from harness.evaluate.metrics import ptb_tokenize

Gram = tuple[str, ...]
LONGEST = 4  # CIDEr's n-grams


def central_caption(captions: Mapping[str, Sequence[str]]) -> str:
    """The caption with the highest mean CIDEr (Vedantam et al. 2015) to the captions of all images.

    ``captions`` maps an image to its captions. Without CIDEr-D's clipping and length penalty the mean over images is
    one dot product: the caption's tf-idf vector, normalised, with the sum of everybody's. So the search is linear in
    the pool. Equal captions come out as the first in the alphabet, whatever the order of the pool.
    """
    texts = sorted({caption for several in captions.values() for caption in several})
    grams = {text: _grams(ptb_tokenize(text)) for text in texts}
    frequency: Counter[Gram] = Counter()
    for several in captions.values():
        frequency.update({gram for text in several for counts in grams[text] for gram in counts})
    vectors = {text: [_unit(counts, frequency, len(captions)) for counts in grams[text]] for text in texts}

    total: list[dict[Gram, float]] = [{} for _ in range(LONGEST)]
    for image in sorted(captions):
        for text in sorted(captions[image]):
            for order, vector in enumerate(vectors[text]):
                for gram, weight in vector.items():
                    total[order][gram] = total[order].get(gram, 0.0) + weight / len(captions[image])

    def centrality(text: str) -> float:
        return math.fsum(
            weight * total[order][gram] for order, vector in enumerate(vectors[text]) for gram, weight in vector.items()
        )

    return min(texts, key=lambda text: (-round(centrality(text), 9), text))


def _grams(words: Sequence[str]) -> list[Counter[Gram]]:
    """How often each n-gram occurs, for n = 1 … ``LONGEST``."""
    return [
        Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1)) for n in range(1, LONGEST + 1)
    ]


def _unit(counts: Mapping[Gram, int], frequency: Mapping[Gram, int], images: int) -> dict[Gram, float]:
    """A tf-idf vector of length 1 (or empty)."""
    weights = {gram: count * (math.log(images) - math.log(frequency[gram])) for gram, count in counts.items()}
    norm = math.sqrt(math.fsum(weight * weight for weight in weights.values()))
    return {gram: weight / norm for gram, weight in weights.items() if weight} if norm else {}
