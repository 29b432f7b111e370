from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.analysis.samples.scores import Incomparable, TaskScores, check_comparable, read_scores
from harness.analysis.stored.reader import ScoreReader
from harness.errors import HarnessError
from harness.plan import Plan
from harness.store import DamagedStage, Store
from tests.analysis.synthetic import from_rows
from tests.synthetic import finish, finish_run, parquet_bytes, random_scores, rows


def scores(task: str = "vqav2", variant: str = "a", level: float | None = None, **options: Any) -> TaskScores:
    scorer = random_scores() if level is None else (lambda *_: level)
    return from_rows(rows(variant, task, 0, scorer, **options))


def by_subset(variant: str, task: str, seed: int, condition: str, number: int) -> float:
    """Odd samples (``unseen_signs``) and even ones have other scores in every condition."""
    levels = {"intact": (80.0, 50.0), "withheld": (11.0, 22.0), "shuffled": (7.0, 33.0), "majority": (31.0, 5.0)}
    return levels[condition][number % 2] + number


def test_samples_are_sorted_and_conditions_kept_apart() -> None:
    content = rows("a", "vqav2", 0, random_scores())
    forward, backward = from_rows(content), from_rows(content[::-1])
    assert forward.questions == backward.questions
    assert forward.points.tolist() == backward.points.tolist()
    assert forward.blinds == backward.blinds
    intact = {row["sample_id"]: row for row in content if row["condition"] == "intact"}
    assert list(forward.questions.ids) == sorted(intact)
    for number, name in enumerate(forward.questions.ids):
        row = intact[name]
        assert forward.points[number] == row["score"]
        assert forward.questions.images[number] == row["image_id"]
        assert forward.questions.sets[number] == row["demonstration_set"]
        assert forward.questions.prompts[number] == row["prompt_sha256"]


def test_blind_is_the_best_control() -> None:
    def score(variant: str, task: str, seed: int, condition: str, number: int) -> float:
        return {"intact": 90.0, "withheld": 11.0, "shuffled": 7.0, "majority": 31.0}[condition]

    assert from_rows(rows("a", "vqav2", 0, score)).blind() == 31.0
    assert scores(conditions=["intact"]).blind() is None


def test_the_scale_is_that_of_the_metric() -> None:
    assert (scores("coco").sample().highest, scores("vqav2").sample().highest) == (1000.0, 100.0)
    assert (scores("coco").sample().lowest, scores("vqav2").sample().lowest) == (0.0, 0.0)


def test_other_prompts_samples_or_metrics_are_refused() -> None:
    with pytest.raises(Incomparable, match="12 of 12"):
        check_comparable(scores(), scores(prompt_sha256="0" * 64))
    with pytest.raises(Incomparable, match="2 are not in both"):
        check_comparable(scores(), scores(samples=10))
    with pytest.raises(Incomparable, match="metrics differ"):
        check_comparable(scores(), scores(metric="vqa-2015"))


@pytest.mark.parametrize("change", [{"demonstration_set": 5}, {"image_id": "other"}, {"subset": "unseen_signs"}])
def test_one_sample_with_other_images_demonstrations_or_subset_is_refused(change: dict[str, Any]) -> None:
    content = rows("a", "vqav2", 0, random_scores())
    content[3].update(change)
    with pytest.raises(Incomparable, match="images, demonstration sets or subsets"):
        check_comparable(scores(), from_rows(content))


def test_equal_questions_are_comparable_whoever_read_them() -> None:
    check_comparable(scores(variant="a"), scores(variant="b"))


def test_one_differing_prompt_is_enough() -> None:
    content = rows("a", "vqav2", 0, random_scores())
    content[3]["prompt_sha256"] = "f" * 64
    with pytest.raises(Incomparable, match="1 of 12"):
        check_comparable(scores(), from_rows(content))


def test_subsets_hold_their_samples_in_all_conditions() -> None:
    all_signs = from_rows(rows("a", "textvqa", 0, by_subset))
    assert all_signs.subsets == ("seen_signs", "unseen_signs")
    unseen, seen = all_signs.only("unseen_signs"), all_signs.only("seen_signs")
    assert list(unseen.questions.ids) == [f"textvqa-{n:04d}" for n in range(1, 12, 2)]
    assert unseen.points.tolist() == [50.0 + n for n in range(1, 12, 2)]
    assert len(unseen.questions.images) == len(unseen.questions.sets) == len(unseen.questions.prompts) == 6
    assert (all_signs.blind("unseen_signs"), unseen.blind()) == (33.0 + 6.0, 33.0 + 6.0)
    assert (all_signs.blind("seen_signs"), seen.blind()) == (31.0 + 5.0, 31.0 + 5.0)
    assert all_signs.blind() == (7.0 + 33.0) / 2 + 5.5  # the shuffled ones, over both


def test_a_subset_without_controls_has_no_blind_score() -> None:
    assert scores("textvqa", conditions=["intact"]).only("unseen_signs").blind() is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": None}, r"vqav2-0000 \(intact\) has no finite score"),
        ({"score": float("nan")}, r"vqav2-0000 \(intact\) has no finite score"),
        ({"score": float("inf")}, r"vqav2-0000 \(intact\) has no finite score"),
        ({"score": float("-inf")}, r"vqav2-0000 \(intact\) has no finite score"),
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


def test_a_score_of_a_control_that_is_no_number_is_named(tmp_path: Path) -> None:
    content = rows("a", "vqav2", 0, random_scores())
    content[12 + 7]["score"] = float("nan")
    path = tmp_path / "scores.parquet"
    path.write_bytes(parquet_bytes(content))
    with pytest.raises(HarnessError, match=r"vqav2-0007 \(withheld\) has no finite score") as found:
        read_scores(path)
    assert str(path) in str(found.value)


@pytest.mark.parametrize("damage", ["missing", "renamed"])
def test_a_control_of_other_samples_is_refused(tmp_path: Path, damage: str) -> None:
    content = rows("a", "vqav2", 0, random_scores())
    if damage == "missing":
        del content[12 + 7]
    else:
        content[12 + 7]["sample_id"] = "vqav2-9999"
    path = tmp_path / "scores.parquet"
    path.write_bytes(parquet_bytes(content))
    with pytest.raises(HarnessError, match="control withheld has other samples"):
        read_scores(path)


def test_a_column_that_is_missing_is_an_error_not_a_traceback(tmp_path: Path) -> None:
    content = rows("a", "vqav2", 0, random_scores())
    for row in content:
        del row["image_id"]
    path = tmp_path / "scores.parquet"
    path.write_bytes(parquet_bytes(content))
    with pytest.raises(HarnessError, match="cannot be read"):
        read_scores(path)


def test_what_was_asked_is_kept_once(store: Store, plan: Plan) -> None:
    """A thousand runs that answered the same questions share one copy of them."""
    one, two = plan.runs[:2]
    reader = ScoreReader(store)
    for run in (one, two):
        finish_run(store, plan, run, tasks=["coco"])
    first, second = (reader.read(run.evaluate["coco"]) for run in (one, two))
    assert first.questions is second.questions
    assert first.points.tolist() != second.points.tolist()


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
