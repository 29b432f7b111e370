from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.analysis.scores import Incomparable, ScoreReader, TaskScores, _task_scores
from harness.errors import HarnessError
from harness.plan import Plan
from harness.store import DamagedStage, Store
from tests.synthetic import finish, finish_run, parquet_bytes, random_scores, rows


def scores(task: str = "vqav2", variant: str = "a", level: float | None = None, **options: Any) -> TaskScores:
    scorer = random_scores() if level is None else (lambda *_: level)
    content = rows(variant, task, 0, scorer, **options)
    return _task_scores({key: [row[key] for row in content] for key in content[0]})


def test_samples_are_sorted_and_conditions_kept_apart() -> None:
    content = rows("a", "vqav2", 0, random_scores())
    forward = _task_scores({key: [row[key] for row in content] for key in content[0]})
    backward = _task_scores({key: [row[key] for row in reversed(content)] for key in content[0]})
    assert forward.conditions == backward.conditions
    assert [sample.id for sample in forward.intact] == sorted(sample.id for sample in forward.intact)
    assert set(forward.conditions) == {"intact", "withheld", "shuffled", "majority"}


def test_blind_is_the_best_control() -> None:
    def score(variant: str, task: str, seed: int, condition: str, number: int) -> float:
        return {"intact": 90.0, "withheld": 11.0, "shuffled": 7.0, "majority": 31.0}[condition]

    content = rows("a", "vqav2", 0, score)
    assert _task_scores({key: [row[key] for row in content] for key in content[0]}).blind() == 31.0
    assert scores(conditions=["intact"]).blind() is None


def test_the_scale_is_that_of_the_metric() -> None:
    assert (scores("coco").sample().highest, scores("vqav2").sample().highest) == (1000.0, 100.0)
    assert scores("coco").minus(scores("coco")).lowest == -1000.0


def test_differences_are_sample_by_sample() -> None:
    one, two = scores(variant="a"), scores(variant="b")
    found = one.minus(two)
    assert found.values == [x.score - y.score for x, y in zip(one.intact, two.intact, strict=True)]
    assert found.clusters == [x.image for x in one.intact]


def test_other_prompts_samples_or_metrics_are_refused() -> None:
    with pytest.raises(Incomparable, match="12 of 12"):
        scores().minus(scores(prompt_sha256="0" * 64))
    with pytest.raises(Incomparable, match="2 are not in both"):
        scores().minus(scores(samples=10))
    with pytest.raises(Incomparable, match="metrics differ"):
        scores().minus(scores(metric="vqa-2015"))


def test_one_differing_prompt_is_enough() -> None:
    content = rows("a", "vqav2", 0, random_scores())
    content[3]["prompt_sha256"] = "f" * 64
    other = _task_scores({key: [row[key] for row in content] for key in content[0]})
    with pytest.raises(Incomparable, match="1 of 12"):
        scores().minus(other)


def test_subsets_hold_their_samples_in_all_conditions() -> None:
    all_signs = scores("textvqa")
    assert all_signs.subsets == ("seen_signs", "unseen_signs")
    unseen = all_signs.only("unseen_signs")
    assert [sample.id for sample in unseen.intact] == [f"textvqa-{n:04d}" for n in range(1, 12, 2)]
    assert all(len(samples) == 6 for samples in unseen.conditions.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": None}, "has no score"),
        ({"score": float("nan")}, "has no score"),
        ({"sample_id": "vqav2-0001"}, "occurs twice"),
        ({"metric": "other"}, "2 metrics"),
        ({"condition": "withheld"}, None),
    ],
)
def test_damaged_rows_are_refused(store: Store, plan: Plan, change: dict[str, Any], message: str | None) -> None:
    run = plan.runs[0]
    finish_run(store, plan, run, tasks=())
    content = rows("a", "vqav2", 0, random_scores(), conditions=["intact"] if message else ["withheld"])
    content[0].update(change)
    finish(store, plan.stages[run.evaluate["vqav2"]], {"scores.parquet": parquet_bytes(content)})
    with pytest.raises(HarnessError, match=message or "no intact samples"):
        ScoreReader(store).read(run.evaluate["vqav2"])


def test_a_file_that_is_no_parquet_is_refused(store: Store, plan: Plan) -> None:
    run = plan.runs[0]
    finish_run(store, plan, run, tasks=())
    finish(store, plan.stages[run.evaluate["coco"]], {"scores.parquet": b"PAR1 nonsense"})
    with pytest.raises(HarnessError, match="cannot be read"):
        ScoreReader(store).read(run.evaluate["coco"])


def test_a_file_cut_short_is_named(store: Store, plan: Plan) -> None:
    run = plan.runs[0]
    finish_run(store, plan, run, tasks=["coco"])
    path: Path = store.outputs(run.evaluate["coco"]).path("scores.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedStage, match=r"scores\.parquet"):
        ScoreReader(Store(store.root)).read(run.evaluate["coco"])


def test_every_stage_is_read_once(store: Store, plan: Plan) -> None:
    run = plan.runs[0]
    finish_run(store, plan, run, tasks=["coco"])
    reader = ScoreReader(store)
    assert reader.read(run.evaluate["coco"]) is reader.read(run.evaluate["coco"])
