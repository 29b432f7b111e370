from __future__ import annotations

from collections.abc import Callable, Sequence
from math import fsum
from typing import Any

import pytest
from scipy import stats

from harness.analysis import Table
from harness.analysis.tables.effects import ENOUGH_PAIRS, Effect, effects
from harness.plan import Plan
from harness.store import Store
from tests.synthetic import finish_run

PlanOf = Callable[..., Plan]
TableOf = Callable[[Plan], Table]
SHOTS = {
    "tokens": {"key": "model.connector.num_tokens", "levels": [4, 9]},
    "shots": {"key": "evaluation.shots", "levels": [0, 1, 2]},
}


def levels_of(variant: str) -> dict[str, str]:
    return dict(part.split("=") for part in variant.split(","))


def plain(variant: str, task: str, seed: int, condition: str, number: int) -> float:
    """Four tokens cost 10 points, average pooling 4, both together 3 more; seeds and variants add noise."""
    levels = levels_of(variant)
    few, average = levels["tokens"] == "4", levels["pooling"] == "average"
    noise = ((seed * 7 + len(variant) * (3 if few else 5)) % 5) * 0.3
    return 50.0 + number - 10.0 * few - 4.0 * average - 3.0 * (few and average) + noise


def finished(plan: Plan, store: Store, scorer: Any = plain, but: Sequence[tuple[str, int]] = ()) -> None:
    for run in plan.runs:
        if (run.variant.name, run.seed) not in but:
            finish_run(store, plan, run, scorer)


def by_seed(table: Table, variant: str, task: str) -> dict[int, float]:
    return {run.entry.seed: run.scores[task].mean for run in table.row(variant).runs if task in run.scores}


def effect(found: Sequence[Effect], *levels: tuple[str, str]) -> Effect:
    return next(each for each in found if tuple(each.levels.values()) == levels)


def test_effects_are_those_that_were_put_in_and_scipy_agrees(plan_of: PlanOf, store: Store, table_of: TableOf) -> None:
    plan = plan_of("seeds=[0,1,2]")
    finished(plan, store)
    table = table_of(plan)
    found = effects(table)
    assert [dict(each.levels) for each in found.main] == [
        {"tokens": ("9", "4")},
        {"pooling": ("perceiver", "average")},
    ]
    cells = {
        (tokens, pooling): by_seed(table, f"tokens={tokens},pooling={pooling}", "okvqa")
        for tokens in (4, 9)
        for pooling in ("perceiver", "average")
    }
    gains = [
        fsum(cells[4, pooling][seed] - cells[9, pooling][seed] for pooling in ("perceiver", "average")) / 2
        for seed in (0, 1, 2)
    ]
    average = effect(found.main, ("9", "4")).averages["okvqa"]
    interval = average.difference.interval
    assert interval is not None
    expected = stats.ttest_1samp(gains, 0.0)
    bounds = expected.confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((bounds.low, bounds.high), abs=1e-10)
    assert average.difference.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert (average.cells, average.left_out) == (2, ())
    assert interval.mean == pytest.approx(-11.5, abs=1.5)

    (interaction,) = found.interactions
    tangled = [
        (cells[4, "average"][seed] - cells[9, "average"][seed])
        - (cells[4, "perceiver"][seed] - cells[9, "perceiver"][seed])
        for seed in (0, 1, 2)
    ]
    measured = interaction.averages["okvqa"].difference.interval
    assert measured is not None
    assert measured.mean == pytest.approx(fsum(tangled) / 3, abs=1e-10)
    assert measured.mean == pytest.approx(-3.0, abs=2.5)


def test_holm_within_each_kind(plan_of: PlanOf, store: Store, table_of: TableOf) -> None:
    plan = plan_of("seeds=[0,1,2]")
    finished(plan, store)
    found = effects(table_of(plan))
    small, large = sorted((each.averages["mean"].difference for each in found.main), key=lambda each: each.p or 0.0)
    assert small.p is not None
    assert small.adjusted == pytest.approx(2 * small.p)
    assert large.adjusted == max(large.p or 0.0, small.adjusted or 0.0)
    alone = found.interactions[0].averages["mean"].difference
    assert alone.adjusted == alone.p
    assert {each.averages["mean"].difference.verdict for each in found.main} <= {"worse", "inconclusive"}


def test_a_missing_cell_shrinks_the_average_and_is_named(plan_of: PlanOf, store: Store, table_of: TableOf) -> None:
    plan = plan_of("seeds=[0,1,2]")
    gone = "tokens=4,pooling=average"
    finished(plan, store, but=[(gone, seed) for seed in (0, 1, 2)])
    table = table_of(plan)
    found = effects(table)
    average = effect(found.main, ("9", "4")).averages["mean"]
    assert average.cells == 1
    assert average.left_out == (f"{gone}: missing",)
    only = table.row("tokens=4,pooling=perceiver").difference["mean"].interval
    assert average.difference.interval == only
    (interaction,) = found.interactions
    assert interaction.averages["mean"].difference.interval is None
    assert interaction.averages["mean"].difference.reason == "no cell has all its scores"


def test_a_cell_with_one_seed_goes_before_the_seeds_of_all_others(
    plan_of: PlanOf, store: Store, table_of: TableOf
) -> None:
    plan = plan_of("seeds=[0,1,2]")
    poor = "tokens=4,pooling=average"
    finished(plan, store, but=[(poor, 1), (poor, 2)])
    average = effect(effects(table_of(plan)).main, ("9", "4")).averages["mean"]
    assert (average.cells, average.difference.seeds) == (1, 3)
    assert average.left_out == (f"{poor}, tokens=9,pooling=average: 1 seed in common",)


def test_one_lost_seed_goes_before_a_cell(plan_of: PlanOf, store: Store, table_of: TableOf) -> None:
    plan = plan_of("seeds=[0,1,2]")
    finished(plan, store, but=[("tokens=4,pooling=average", 1)])
    average = effect(effects(table_of(plan)).main, ("9", "4")).averages["mean"]
    assert (average.cells, average.difference.seeds) == (2, 2)


def test_three_levels_and_cells_of_a_third_factor(plan_of: PlanOf, store: Store, table_of: TableOf) -> None:
    pooling = {
        "levels": {
            "perceiver": {"model.connector.kind": "perceiver"},
            "average": {"model.connector.kind": "average_pool"},
        }
    }
    plan = plan_of(
        factors={**SHOTS, "pooling": pooling},
        baseline={"tokens": 9, "shots": 1, "pooling": "perceiver"},
        claims=[],
        positive_control=None,
    )
    finished(plan, store)
    found = effects(table_of(plan))
    assert [next(iter(each.levels.values())) for each in found.main] == [
        ("9", "4"),
        ("1", "0"),
        ("1", "2"),
        ("perceiver", "average"),
    ]
    assert [each.cells for each in found.main] == [6, 4, 4, 6]
    assert len(found.interactions) == 5
    assert effect(found.interactions, ("9", "4"), ("perceiver", "average")).cells == 3
    assert all(each.averages["mean"].difference.basis == "samples" for each in found.main)


def test_one_factor_and_one_at_a_time_have_none(plan_of: PlanOf, table_of: TableOf) -> None:
    for changes in (
        {"factors": {"tokens": SHOTS["tokens"]}, "baseline": {"tokens": 9}},
        {"factors": SHOTS, "baseline": {"tokens": 9, "shots": 1}, "design": "one_factor"},
    ):
        found = effects(table_of(plan_of(**changes, claims=[], positive_control=None)))
        assert not found.main
        assert not found.interactions


def test_before_any_run_effects_are_there_without_a_number(plan: Plan, table_of: TableOf) -> None:
    found = effects(table_of(plan))
    value = found.to_json()
    assert value["main"][0]["averages"]["mean"]["mean"] is None
    assert value["main"][0]["probability_of_improvement"] is None
    assert len(value["main"][0]["averages"]["mean"]["left_out"]) == 2


def test_probability_of_improvement_counts_pairs_and_halves_ties(
    plan_of: PlanOf, store: Store, table_of: TableOf
) -> None:
    def scorer(variant: str, task: str, seed: int, condition: str, number: int) -> float:
        few = levels_of(variant)["tokens"] == "4"
        gain = {"vqav2": 5.0, "textvqa": -5.0, "okvqa": 5.0, "coco": 0.0}[task]
        return 50.0 + number % 3 + gain * few

    plan = plan_of()
    finished(plan, store, scorer)
    improvement = effect(effects(table_of(plan)).main, ("9", "4")).improvement
    assert improvement is not None
    assert improvement.pairs == 8 == ENOUGH_PAIRS
    assert improvement.share == pytest.approx((2 + 0 + 2 + 1) / 8)


def test_several_seeds_of_one_cell_go_before_one_seed_of_all(plan_of: PlanOf, store: Store, table_of: TableOf) -> None:
    changes = {"factors": SHOTS, "baseline": {"tokens": 9, "shots": 1}, "claims": [], "positive_control": None}
    plan = plan_of("seeds=[0,1]", **changes)
    finished(plan, store, None, but=[("tokens=4,shots=0", 1), ("tokens=4,shots=2", 1)])
    average = effect(effects(table_of(plan)).main, ("9", "4")).averages["mean"]
    assert (average.cells, average.difference.seeds, average.difference.basis) == (1, 2, "seeds")
    assert len(average.left_out) == 2
