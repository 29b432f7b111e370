from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from harness.analysis.samples.scores import read_scores
from harness.analysis.statistics.power import Noise
from harness.analysis.tables.comparison import EXAMPLES, Rules, Side, compare
from harness.errors import HarnessError
from tests.synthetic_scores import Scorer, parquet_bytes, random_scores, rows

RULES = Rules(min_effect=1.0, confidence=0.95, power=0.8, seed_noise={})


def side(
    folder: Path,
    name: str,
    seeds: tuple[int, ...] = (0,),
    tasks: tuple[str, ...] = ("vqav2", "textvqa"),
    **options: object,
) -> Side:
    scorer: Scorer = options.pop("scorer", random_scores())  # type: ignore[assignment]
    files = {}
    for seed in seeds:
        files[seed] = {task: folder / f"{name}-{task}-{seed}.parquet" for task in tasks}
        for task, path in files[seed].items():
            path.write_bytes(parquet_bytes(rows(name, task, seed, scorer, **options)))  # type: ignore[arg-type]
    scores = {seed: {task: read_scores(path) for task, path in of.items()} for seed, of in files.items()}
    return Side(name, scores, files)


def points(of: Side, task: str) -> np.ndarray:
    return np.mean([scores[task].points for scores in of.scores.values()], axis=0)


def test_the_second_minus_the_first_over_seeds(tmp_path: Path) -> None:
    a, b = side(tmp_path, "a", (0, 1, 2)), side(tmp_path, "b", (0, 1, 2))
    found = compare(a, b, RULES)
    assert [each.key for each in found.benchmarks] == ["vqav2", "textvqa", "mean"]
    for task, each in zip(("vqav2", "textvqa"), found.benchmarks, strict=False):
        values = [b.scores[s][task].mean - a.scores[s][task].mean for s in (0, 1, 2)]
        interval = each.difference.interval
        assert interval is not None
        low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
        assert (interval.mean, interval.low, interval.high) == pytest.approx((np.mean(values), low, high))
        assert each.difference.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
        change = points(b, task) - points(a, task)
        assert (each.wins, each.losses, each.ties) == ((change > 0).sum(), (change < 0).sum(), (change == 0).sum())
    assert found.benchmarks[-1].wins is None
    turned = compare(b, a, RULES)
    assert turned.benchmarks[0].difference.interval.mean == -found.benchmarks[0].difference.interval.mean  # type: ignore[union-attr]
    assert (turned.benchmarks[0].wins, turned.benchmarks[0].losses) == (
        found.benchmarks[0].losses,
        found.benchmarks[0].wins,
    )


def test_parts_of_a_benchmark(tmp_path: Path) -> None:
    a, b = side(tmp_path, "a"), side(tmp_path, "b")
    found = compare(a, b, RULES)
    assert [(part.key, part.subset) for part in found.parts] == [("textvqa", "seen_signs"), ("textvqa", "unseen_signs")]
    change = (points(b, "textvqa") - points(a, "textvqa"))[1::2]
    assert found.parts[1].difference.interval.mean == pytest.approx(change.mean())  # type: ignore[union-attr]
    assert found.parts[1].wins == (change > 0).sum()


def test_the_samples_that_differ_most_with_the_answers_of_all_seeds(tmp_path: Path) -> None:
    def scorer(variant: str, task: str, seed: int, condition: str, number: int) -> float:
        return 50.0 + (number if variant == "b" else 0.0) * (1 if condition == "intact" else 100)

    a, b = side(tmp_path, "a", (0, 1), scorer=scorer), side(tmp_path, "b", (0, 1), scorer=scorer)
    examples = [each for each in compare(a, b, RULES).examples if each.task == "vqav2"]
    assert [each.sample_id for each in examples] == [f"vqav2-{n:04d}" for n in (11, 10, 9, 8, 7)]
    assert len(examples) == EXAMPLES
    assert examples[0].points == (50.0, 61.0)
    assert examples[0].answers == (("answer 11", "answer 11"), ("answer 11", "answer 11"))


def test_one_model_each_is_conditional_whatever_the_seeds_are_called(tmp_path: Path) -> None:
    a, b = side(tmp_path, "a", (0,)), side(tmp_path, "b", (5,))
    found = compare(a, b, RULES)
    assert {each.difference.basis for each in found.benchmarks} == {"samples"}
    assert any("these trained models only" in note for note in found.notes)
    noisy = compare(a, b, replace(RULES, seed_noise={"vqav2": Noise(30.0, 4), "mean": Noise(30.0, 4)}))
    assert noisy.benchmarks[0].difference.floor is not None
    assert noisy.benchmarks[0].difference.verdict == "inconclusive"
    # A part of a benchmark has fewer questions, so at least the noise of the whole.
    parts = compare(a, b, replace(RULES, seed_noise={"textvqa": Noise(30.0, 4)})).parts
    assert {part.difference.verdict for part in parts} == {"inconclusive"}
    assert all(part.difference.floor for part in parts)


def test_one_model_against_seeds_is_judged_by_their_scatter(tmp_path: Path) -> None:
    a, b = side(tmp_path, "a", (0, 1, 2)), side(tmp_path, "b", (-1,))
    (first, *_) = compare(a, b, RULES).benchmarks
    of_a = [a.scores[seed]["vqav2"].mean for seed in (0, 1, 2)]
    expected = b.scores[-1]["vqav2"].mean - np.mean(of_a)
    reach = stats.t.ppf(0.975, 2) * np.std(of_a, ddof=1) * np.sqrt(1 + 1 / 3)
    assert first.difference.basis == "mixed"
    assert (first.difference.interval.mean, first.difference.interval.high) == pytest.approx(  # type: ignore[union-attr]
        (expected, expected + reach)
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt_sha256": "0" * 64}, "cannot be compared on vqav2: the prompts differ"),
        ({"samples": 10}, "cannot be compared on vqav2: the samples differ"),
        ({"metric": "vqa-once"}, "cannot be compared on vqav2: the metrics differ"),
        ({"image_id": "one"}, "cannot be compared on vqav2: the images, demonstration sets or subsets"),
        ({"tasks": ("coco",)}, "no benchmark in common"),
    ],
)
def test_what_is_not_comparable_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        compare(side(tmp_path, "a"), side(tmp_path, "b", **changes), RULES)  # type: ignore[arg-type]


def test_other_versions_of_a_metric_are_refused(tmp_path: Path) -> None:
    a, b = side(tmp_path, "a"), side(tmp_path, "b")
    with pytest.raises(HarnessError, match="the versions of the metric differ"):
        compare(replace(a, versions={"vqav2": "v@1"}), replace(b, versions={"vqav2": "v@2"}), RULES)
    compare(replace(a, versions={"vqav2": "v@1"}), b, RULES)


def test_benchmarks_of_one_only_are_named(tmp_path: Path) -> None:
    found = compare(side(tmp_path, "a"), side(tmp_path, "b", tasks=("vqav2",)), RULES)
    assert [each.key for each in found.benchmarks] == ["vqav2"]
    assert any("Only one of the two has textvqa" in note for note in found.notes)


def test_a_decided_and_an_undecided_difference(tmp_path: Path) -> None:
    def scorer(variant: str, task: str, seed: int, condition: str, number: int) -> float:
        gap = 20.0 if task == "vqav2" else 4.0
        return 30.0 + number + (gap if variant == "b" else 0.0) + ((seed * 5) % 3) * (3.0 if variant == "b" else 0.0)

    found = compare(*(side(tmp_path, name, (0, 1, 2), scorer=scorer) for name in "ab"), RULES)
    first, second, _ = found.benchmarks
    assert first.difference.verdict == "better"
    assert second.difference.verdict == "inconclusive"
    assert second.difference.seeds_to_decide is not None
    assert second.difference.seeds_to_decide > 3
