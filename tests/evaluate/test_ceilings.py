from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import pytest

from harness.errors import HarnessError
from harness.evaluate.ceilings import ceiling
from harness.evaluate.evaluation import Evaluation
from harness.evaluate.metrics import DocumentFrequencies, cider_d

from .tiny import TinyDataset, protocol


def prepared(task: str, metric: str = "vqa-always") -> Evaluation:
    return Evaluation.prepare(protocol(task, metric=metric), TinyDataset())  # type: ignore[arg-type]


def test_the_best_answer_to_a_question_is_the_one_that_most_would_give() -> None:
    """Three say one color and seven another: the seven's scores 100, the three's 60 (two others agree with each)."""
    evaluation = prepared("vqav2")
    assert ceiling(evaluation) == 100
    apart = [replace(query, answers=(*"abcdefgh", "red", "red")) for query in evaluation.queries]
    assert ceiling(replace(evaluation, queries=tuple(apart))) == pytest.approx(60)


def test_answers_as_written_count_where_the_metric_compares_with_them() -> None:
    evaluation = prepared("okvqa")
    raw = tuple(replace(query, answers=("race",) * 10, raw_answers=("racing",) * 10) for query in evaluation.queries)
    asked = replace(evaluation, protocol=replace(evaluation.protocol, metric="okvqa-raw"), queries=raw)
    assert ceiling(asked) == 100


def test_captions_are_compared_with_the_others_of_their_image() -> None:
    evaluation = prepared("coco", "cider-d")
    frequencies = DocumentFrequencies.from_references({s.id: s.answers for s in evaluation.pool.samples})
    expected = []
    for query in evaluation.queries:
        for place, caption in enumerate(query.answers):
            others = [other for number, other in enumerate(query.answers) if number != place]
            expected.append(cider_d({0: caption}, {0: others}, document_frequencies=frequencies).score)
    assert ceiling(evaluation) == pytest.approx(100 * fmean(expected), abs=1e-9)


def test_images_with_fewer_references_weigh_as_much() -> None:
    evaluation = prepared("coco", "cider-d")
    first, *others = evaluation.queries
    fewer = replace(evaluation, queries=(replace(first, answers=first.answers[:2]), *others))
    alone = ceiling(replace(evaluation, queries=(replace(first, answers=first.answers[:2]),)))
    rest = ceiling(replace(evaluation, queries=tuple(others)))
    assert ceiling(fewer) == pytest.approx((alone + rest * len(others)) / len(fewer.queries))


def test_one_reference_is_nothing_to_compare_with() -> None:
    evaluation = prepared("coco", "cider-d")
    single = tuple(replace(query, answers=query.answers[:1]) for query in evaluation.queries)
    with pytest.raises(HarnessError, match="one reference caption"):
        ceiling(replace(evaluation, queries=single))
