"""Scores of answers, one a sample, in points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

from harness.errors import HarnessError
from harness.evaluate.metrics import CorpusMetric, DocumentFrequencies, Metric, SampleMetric, find_metric
from harness.evaluate.tasks import Pool, Sample

POINTS = 100.0

HIGHEST: Mapping[str, float] = {"cider-d": 1000.0}
"""Upper end of a metric's scale in points, where it is not 100."""


class Scorer:
    """Scores answers to samples of a pool with a metric of the registry, times 100.

    CIDEr-D counts document frequencies over the references of the whole pool, so that a sample's score does not depend
    on which others are evaluated, and the mean of the rows is the corpus score.
    """

    def __init__(self, metric: str, pool: Pool) -> None:
        self.metric: Metric = find_metric(metric)
        self._pool = pool

    def __call__(self, samples: Sequence[Sample], answers: Sequence[str]) -> list[float]:
        """The score of each answer."""
        if len(samples) != len(answers):
            raise ValueError(f"{len(answers)} answers to {len(samples)} samples")
        if isinstance(self.metric, SampleMetric):
            of = self.metric
            pairs = zip(samples, answers, strict=True)
            return [POINTS * of.score(answer, self._truth(of, sample)) for sample, answer in pairs]
        assert isinstance(self.metric, CorpusMetric)
        candidates = {sample.id: answer for sample, answer in zip(samples, answers, strict=True)}
        references = {sample.id: sample.answers for sample in samples}
        scores = self.metric.score(candidates, references, self._frequencies).per_image
        return [POINTS * scores[sample.id] for sample in samples]

    @property
    def source(self) -> str:
        """What the document frequencies were counted on; empty for metrics without any."""
        return self._frequencies.source if isinstance(self.metric, CorpusMetric) else ""

    @cached_property
    def _frequencies(self) -> DocumentFrequencies:
        assert isinstance(self.metric, CorpusMetric)
        return self.metric.count({sample.id: sample.answers for sample in self._pool.samples})

    @staticmethod
    def _truth(metric: SampleMetric, sample: Sample) -> Sequence[str]:
        truth = sample.raw_answers if metric.answer_field == "raw_answer" else sample.answers
        if not truth:
            raise HarnessError(
                f"sample {sample.id} has no {metric.answer_field}, which {metric.name} compares with",
                remedy="choose another metric, or use annotations that have it",
            )
        return truth


def mean(scores: Sequence[float]) -> float:
    """The exactly rounded mean: it does not depend on the order of the scores."""
    return math.fsum(scores) / len(scores) if scores else math.nan
