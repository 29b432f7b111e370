"""CIDEr-D (Vedantam et al. 2015) by pycocoevalcap's scorer, with tokens from the Python PTB tokeniser."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import HarnessError
from harness.evaluate.metrics.ptb import ptb_tokenize


@dataclass(frozen=True)
class CiderScores:
    """``corpus``: the mean over the candidates; ``per_image``: the score of each, by image. As the scorer gives them (0..10)."""

    corpus: float
    per_image: dict[Hashable, float]


def cider_d(
    candidates: Mapping[Hashable, str], references: Mapping[Hashable, Sequence[str]], tokenised: bool = False
) -> CiderScores:
    """CIDEr-D of one candidate an image.

    Document frequencies are those of all ``references``, which may cover more images than ``candidates``: scores of a subset
    then equal those of the same images in the whole set. ``tokenised``: the texts are PTB tokens joined by spaces already.
    Raises HarnessError for a candidate without references.
    """
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    missing = next((key for key in candidates if not references.get(key)), None)
    if missing is not None:
        raise HarnessError(
            f"image {missing!r} has a caption to be scored and no reference", remedy="check the reference file"
        )

    def prepare(text: str) -> str:
        return text if tokenised else " ".join(ptb_tokenize(text))

    scorer = CiderScorer(n=4, sigma=6.0)
    for key, texts in references.items():
        prepared = [prepare(text) for text in texts]
        scorer += (prepare(candidates[key]) if key in candidates else prepared[0], prepared)
    _, scores = scorer.compute_score()
    per_image = {key: float(score) for key, score in zip(references, scores, strict=True) if key in candidates}
    return CiderScores(sum(per_image.values()) / len(per_image) if per_image else 0.0, per_image)
