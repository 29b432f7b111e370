from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.evaluate.scoring import Scorer, mean
from harness.evaluate.selection import select
from harness.evaluate.tasks import Pool, Sample, get_task

from .tiny import TinyDataset


def captions() -> Pool:
    return get_task("coco").read(TinyDataset(), "test")  # type: ignore[arg-type]


def test_points() -> None:
    sample = Sample("1", "1", "", "?", ("red",) * 2 + ("blue",) * 8)
    scorer = Scorer("vqa-always", Pool("vqav2", "test", (sample,)))
    assert scorer([sample] * 3, ["Red.", "blue", "green"]) == pytest.approx([60, 100, 0])


def test_a_caption_scores_the_same_in_any_company() -> None:
    pool = captions()
    answers = {sample.id: f"A {sample.answers[0].split()[1]} thing." for sample in pool.samples}
    scorer = Scorer("cider-d", pool)

    def scored(count: int) -> dict[str, float]:
        chosen = select(pool, count)
        scores = scorer(chosen, [answers[sample.id] for sample in chosen])
        return dict(zip((sample.id for sample in chosen), scores, strict=True))

    few, many = scored(3), scored(20)
    assert few == {id: many[id] for id in few}
    assert min(few.values()) > 0  # a single image scored on its own frequencies would get 0
    assert scored(1) == {id: many[id] for id in list(few)[:1]}


def test_metric_of_raw_answers() -> None:
    sample = Sample("1", "1", "", "?", ("race",) * 10, raw_answers=("racing",) * 10)
    pool = Pool("okvqa", "test", (sample,))
    assert Scorer("okvqa-raw", pool)([sample], ["racing"]) == [100]
    assert Scorer("vqa-always", pool)([sample], ["racing"]) == [0]
    bare = Sample("2", "1", "", "?", ("race",) * 10)
    with pytest.raises(HarnessError, match="sample 2 has no raw_answer"):
        Scorer("okvqa-raw", pool)([bare], ["racing"])


def test_every_sample_needs_an_answer() -> None:
    sample = Sample("1", "1", "", "?", ("red",) * 10)
    with pytest.raises(ValueError, match="0 answers"):
        Scorer("vqa-always", Pool("vqav2", "test", (sample,)))([sample], [])


def test_mean_does_not_depend_on_order() -> None:
    values = [0.1 * n for n in range(100)] + [1e16, 1.0, -1e16]
    assert mean(values) == mean(values[::-1]) == mean(sorted(values))
