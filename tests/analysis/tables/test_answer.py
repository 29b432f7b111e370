from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from harness.analysis import Table
from harness.analysis.tables.answer import answer
from harness.plan import Plan
from harness.report.answer import answer_lines
from harness.store import Store
from tests.synthetic import Scorer, finish_run

LEVELS = {
    "tokens=9,pooling=perceiver": 50.0,
    "tokens=9,pooling=average": 49.0,
    "tokens=4,pooling=perceiver": 20.0,
    "tokens=4,pooling=average": 49.9,
}
SEEDS = [0, 1, 2, 3]


def scorer(spread: float) -> Scorer:
    """Levels a variant, the same luck for all variants of a seed, and ``spread`` points of a variant's own."""

    def score(variant: str, task: str, seed: int, condition: str, number: int) -> float:
        own = spread * ((list(LEVELS).index(variant) * 2 + seed * 3) % 5 - 2)
        return LEVELS[variant] + seed + own + number % 2 if condition == "intact" else 1.0

    return score


def finished(plan: Plan, store: Store, spread: float) -> None:
    for run in plan.runs:
        finish_run(store, plan, run, scorer(spread))


def test_who_is_best_behind_equal_and_unsettled(
    plan_of: Callable[..., Plan], store: Store, table_of: Callable[[Plan], Table]
) -> None:
    plan = plan_of(seeds=SEEDS)
    finished(plan, store, 0.01)
    found = answer(table_of(plan))
    assert found is not None
    assert found.best.variant.name == "tokens=9,pooling=perceiver"
    assert [rival.row.variant.name for rival in found.behind] == ["tokens=4,pooling=perceiver"]
    assert {rival.row.variant.name for rival in found.equal} == {"tokens=9,pooling=average", "tokens=4,pooling=average"}
    assert found.unsettled == ()
    assert found.pairs == 6
    assert found.cheapest is found.best  # all cost the same here
    text = " ".join(answer_lines(table_of(plan)))
    assert "tokens=9,pooling=perceiver has the highest mean" in text
    assert "Better than tokens=4,pooling=perceiver" in text
    assert "cheapest" not in text
    small = {"tokens=4,pooling=perceiver": 1e9, "tokens=4,pooling=average": 2e9}
    rows = [replace(row, train_flops=small.get(row.variant.name, 9e9)) for row in table_of(plan).rows]
    text = " ".join(answer_lines(replace(table_of(plan), rows=tuple(rows))))
    assert "The cheapest of those that may be as good is tokens=4,pooling=average: 2.00 GFLOPs of training" in text


def test_noise_leaves_it_open_and_says_how_many_seeds_would_settle_it(
    plan_of: Callable[..., Plan], store: Store, table_of: Callable[[Plan], Table]
) -> None:
    plan = plan_of(seeds=SEEDS)
    finished(plan, store, 4.0)
    found = answer(table_of(plan))
    assert found is not None
    assert found.unsettled
    text = " ".join(answer_lines(table_of(plan)))
    assert "seeds would settle it with 80 % probability" in text
    alone = [rival for rival in found.unsettled if rival.difference.p is not None and rival.difference.p < 0.05]
    assert alone  # open only because of the correction, and said to be
    assert text.count("decided by itself but not among 6 pairs") == len(alone)


def test_one_seed_says_whose_noise_it_allows_for(
    plan_of: Callable[..., Plan], store: Store, table_of: Callable[[Plan], Table]
) -> None:
    analysis = {"primary": "mean", "min_effect": 3.0, "seed_noise": {"mean": 2.0, "degrees": 9}}
    plan = plan_of(seeds=[0], analysis=analysis)
    finished(plan, store, 0.01)
    lines = answer_lines(table_of(plan))
    assert lines[1].startswith("One seed says little of another training")


def test_what_is_missing_has_no_answer(plan: Plan, store: Store, table_of: Callable[[Plan], Table]) -> None:
    assert answer(table_of(plan)) is None
    assert answer_lines(table_of(plan)) == []
    for run in plan.runs[:2]:
        finish_run(store, plan, run, scorer(1.0))
    assert answer_lines(table_of(plan))[-1] == "The sweep is not complete; all of this may change."
