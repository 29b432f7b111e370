"""Scores of answers, one a sample, in points."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.evaluate.metrics import cider_d, vqa_accuracy
from harness.evaluate.metrics.ptb import ptb_tokenize
from harness.evaluate.tasks import Pool, Sample

POINTS = 100.0


class Scorer:
    """Scores answers to the samples of a pool under a named metric variant, times 100.

    CIDEr-D counts document frequencies over the references of the whole pool, so that a sample's score does not depend
    on which others are evaluated, and the mean of the rows is the corpus score.
    """

    def __init__(self, metric: str, pool: Pool) -> None:
        self._metric = metric
        self._references = {s.id: [_tokens(text) for text in s.answers] for s in pool.samples} if self._is_cider else {}

    def __call__(self, samples: Sequence[Sample], answers: Sequence[str]) -> list[float]:
        """The score of each answer."""
        if len(samples) != len(answers):
            raise ValueError(f"{len(answers)} answers to {len(samples)} samples")
        if self._is_cider:
            candidates = {sample.id: _tokens(answer) for sample, answer in zip(samples, answers, strict=True)}
            scores = cider_d(candidates, self._references, tokenised=True).per_image
            return [POINTS * scores[sample.id] for sample in samples]
        return [
            POINTS * vqa_accuracy(answer, sample.answers, self._metric)
            for sample, answer in zip(samples, answers, strict=True)
        ]

    @property
    def _is_cider(self) -> bool:
        return self._metric == "cider-d"


def mean(scores: Sequence[float]) -> float:
    """The exactly rounded mean: it does not depend on the order of the scores."""
    return math.fsum(scores) / len(scores) if scores else math.nan


def _tokens(text: str) -> str:
    return " ".join(ptb_tokenize(text))
