"""What the best answers score: the upper end of a benchmark, for means that compare benchmarks by it.

Not 100: where annotators disagree no answer pleases all of them, and a person's caption agrees with other people's only
so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from harness.errors import HarnessError
from harness.evaluate.evaluation import Evaluation
from harness.evaluate.metrics import SampleMetric
from harness.evaluate.scoring import Scorer, mean
from harness.evaluate.tasks import Sample


def ceiling(evaluation: Evaluation) -> float:
    """The score in points of the best answers to the queries of an evaluation.

    Of a question it is the best that any annotator's answer scores against all of them. Of a caption it is the mean
    over the references of what each scores against the others (the human score of Vedantam et al. 2015, section 6); a
    model can exceed it, since it can say what most people say. Raises HarnessError for an image with one reference.
    """
    scorer = evaluation.scorer
    if isinstance(scorer.metric, SampleMetric):
        return mean([_best_answer(scorer, query) for query in evaluation.queries])
    return _left_out(scorer, evaluation.queries)


def _best_answer(scorer: Scorer, query: Sample) -> float:
    said = sorted({*query.answers, *query.raw_answers})
    return max(scorer([query] * len(said), said))


def _left_out(scorer: Scorer, queries: Sequence[Sample]) -> float:
    """Each reference in turn against the others of its image."""
    for query in queries:
        if len(query.answers) < 2:
            raise HarnessError(
                f"image {query.id} has one reference caption, which leaves nothing to compare it with",
                remedy="set this benchmark's ceiling by hand",
            )
    most = max(len(query.answers) for query in queries)
    scores: dict[str, list[float]] = {query.id: [] for query in queries}
    for place in range(most):
        concerned = [query for query in queries if place < len(query.answers)]
        others = [replace(query, answers=query.answers[:place] + query.answers[place + 1 :]) for query in concerned]
        found = scorer(others, [query.answers[place] for query in concerned])
        for query, points in zip(concerned, found, strict=True):
            scores[query.id].append(points)
    return mean([fmean(points) for points in scores.values()])
