from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.analysis import SavedSweep, Table, make_table
from harness.analysis.claims.agreement import Agreement, Summary
from harness.analysis.claims.results import ClaimResult, claim_results
from harness.analysis.document import to_json
from harness.errors import HarnessError
from harness.plan import Plan
from harness.store import Store
from tests.analysis.claims.test_efficiency import telemetry
from tests.synthetic import TASKS, finish, parquet_bytes, record, rows, train_summary

PlanOf = Callable[..., Plan]
THREE = {
    "tokens": {"key": "model.connector.num_tokens", "levels": [4, 9, 16]},
    "pooling": {
        "levels": {
            "perceiver": {"model.connector.kind": "perceiver"},
            "average": {"model.connector.kind": "average_pool"},
        }
    },
}
"""Levels of a grid of 12 × 12 patches that an average pool can make."""

JUMPS = {
    "tokens=4,pooling=perceiver": (0, 0, 0),
    "tokens=9,pooling=perceiver": (-1, 0, 1),
    "tokens=16,pooling=perceiver": (1, -1, 0),
    "tokens=4,pooling=average": (0, 1, -1),
    "tokens=9,pooling=average": (1, 0, -1),
    "tokens=16,pooling=average": (-1, 1, 0),
    "shots=0": (0, 0, 0),
    "shots=2": (-1, 0, 1),
}
"""By seed, in units of the noise: over three seeds no variant gains by it, whichever two are compared."""

BUDGET = {"steps": 50, "images": 400, "text_tokens": 9000, "supervised_tokens": 3000}


def finished(
    plan: Plan,
    store: Store,
    gains: Mapping[str, float],
    noise: float = 0.3,
    diverged: Sequence[str] = (),
    losses: Mapping[str, list[float]] | None = None,
) -> Table:
    """A table in which a variant scores 40 points and its gain, with this noise from seed to seed."""

    def scorer(variant: str, task: str, seed: int, condition: str, number: int) -> float:
        own = 0.1 * (number % 3 - 1) * (len(variant) + int("tokens=9" in variant))
        return 5.0 if condition != "intact" else 40.0 + gains[variant] + noise * JUMPS[variant][seed] + own

    for run in plan.runs:
        name = run.variant.name
        summary = {**train_summary(tokens=run.variant.config.model.connector.num_tokens), **BUDGET}
        for stage_id in run.features:
            finish(store, plan.stages[stage_id], {"out.bin": b"x"})
        is_lost = f"{name}/{run.seed}" in diverged
        for stage_id in run.train:
            content = {"telemetry.parquet": telemetry((losses or {}).get(name, [1.0]))}
            finish(store, plan.stages[stage_id], content, summary, "diverged" if is_lost else "complete")
            if is_lost:
                break
        for task in () if is_lost else TASKS:
            content = {"scores.parquet": parquet_bytes(rows(name, task, run.seed, scorer))}
            finish(store, plan.stages[run.evaluate[task]], content)
    return make_table(SavedSweep.of(record(plan)), store)


def named(perceiver: Sequence[float], average: Sequence[float], tokens: Sequence[int] = (4, 9)) -> dict[str, float]:
    gains = {f"tokens={n},pooling=perceiver": gain for n, gain in zip(tokens, perceiver, strict=True)}
    return {**gains, **{f"tokens={n},pooling=average": gain for n, gain in zip(tokens, average, strict=True)}}


def claim(expect: str, **keys: Any) -> dict[str, Any]:
    return {"id": "I2-13", "expect": expect, **keys}


TOKENS = {"contrast": {"tokens": [4, 9]}}
AT = {"where": {"pooling": "perceiver"}}
SEEDS = "seeds=[0,1,2]"


def only(plan_of: PlanOf, store: Store, entry: dict[str, Any], gains: dict[str, float], **options: Any) -> ClaimResult:
    changes = {"claims": [entry], "positive_control": None, **options.pop("changes", {})}
    (found,) = claim_results(finished(plan_of(options.pop("seeds", SEEDS), **changes), store, gains, **options))
    return found


@pytest.mark.parametrize(
    ("expect", "gain", "verdict"),
    [
        ("better", 10.0, "replicated"),
        ("worse", 10.0, "contradicted"),
        ("better", -10.0, "contradicted"),
        ("better", 0.0, "contradicted"),  # equivalent within ±3
        ("equivalent", 10.0, "contradicted"),
    ],
)
def test_signs_and_equivalence(plan_of: PlanOf, store: Store, expect: str, gain: float, verdict: str) -> None:
    found = only(plan_of, store, claim(expect, **TOKENS, **AT), named([0, gain], [0, 0]))
    assert found.judgement.verdict == verdict
    assert found.is_tested
    assert not found.is_conditional
    main = found.main
    assert main is not None
    assert main.difference.interval is not None
    assert main.difference.interval.mean == pytest.approx(gain)
    assert found.deviation is not None
    assert found.effect == pytest.approx(main.difference.interval.mean / found.deviation)


def test_a_lot_of_noise_leaves_it_open_and_says_how_many_seeds_would_decide(plan_of: PlanOf, store: Store) -> None:
    found = only(plan_of, store, claim("better", **TOKENS, **AT), named([0, 4], [0, 0]), noise=4.0)
    assert found.judgement.verdict == "undecided"
    assert found.judgement.seeds_to_decide is not None
    assert found.judgement.seeds_to_decide > 3


@pytest.mark.parametrize(
    ("keys", "bound", "source"),
    [
        ({"bound": 7.0}, 7.0, "of the sweep file"),
        ({}, 1.0, "the noise that Idefics2 reports, I2-28"),
        ({"id": "PM-08"}, 3.0, "the smallest effect that matters"),
    ],
)
def test_whose_bound_it_is(plan_of: PlanOf, store: Store, keys: dict[str, Any], bound: float, source: str) -> None:
    entry = {**claim("equivalent", **TOKENS, **AT), **keys}
    found = only(plan_of, store, entry, named([0, 0], [0, 0]), noise=0.05)
    assert (found.bound, found.bound_source) == (bound, source)
    assert found.judgement.verdict == "replicated"


def test_a_bound_below_the_noise_is_undecidable(plan_of: PlanOf, store: Store) -> None:
    found = only(plan_of, store, claim("equivalent", **TOKENS, **AT, bound=0.1), named([0, 0], [0, 0]), noise=4.0)
    assert found.judgement.verdict == "undecided"
    assert found.judgement.is_undecidable


def test_groups_are_averaged_and_say_so(plan_of: PlanOf, store: Store) -> None:
    found = only(plan_of, store, claim("better", **TOKENS), named([0, 10], [0, 20]))
    assert found.main is not None
    assert found.main.difference.interval is not None
    means = [pair.difference.interval.mean for pair in found.pairs if pair.difference.interval]
    assert found.main.difference.interval.mean == pytest.approx(sum(means) / 2)
    assert found.main.difference.interval.mean == pytest.approx(15)
    assert found.judgement.verdict == "replicated"
    assert "2 groups" in found.notes[0]


def test_the_noise_is_that_of_the_contrast(plan_of: PlanOf, store: Store) -> None:
    """A pair weighs two runs by 1, a mean of two pairs four by 1/2, an interaction four by 1."""
    claims = [
        claim("better", **TOKENS, **AT),
        claim("better", **TOKENS),
        claim("larger", **TOKENS, between={"pooling": ["perceiver", "average"]}),
    ]
    table = finished(plan_of(SEEDS, claims=claims, positive_control=None), store, named([0, 10], [0, 20]))
    noise = table.power["mean"].noise.deviation
    found = [each.deviation for each in claim_results(table)]
    assert found == pytest.approx([noise, noise / 2**0.5, noise * 2**0.5])


def test_a_mean_does_not_hide_that_groups_disagree(plan_of: PlanOf, store: Store) -> None:
    found = only(plan_of, store, claim("better", **TOKENS), named([0, 30], [0, -10]))
    assert found.judgement.verdict == "undecided"
    assert "depends on the rest of the design" in found.judgement.reason
    assert "worse from tokens=4,pooling=average" in found.judgement.reason


LADDER = {"contrast": {"tokens": [4, 9, 16]}, **AT}


@pytest.mark.parametrize(
    ("expect", "gains", "verdict"),
    [
        ("increasing", (0, 10, 20), "replicated"),
        ("decreasing", (0, 10, 20), "contradicted"),
        ("increasing", (0, 20, 10), "contradicted"),
        ("increasing", (0, 20, 20), "contradicted"),
        ("decreasing", (0, -10, -20), "replicated"),
        ("saturating", (0, 20, 20), "replicated"),
        ("saturating", (0, 10, 20), "contradicted"),
        ("saturating", (0, 0, 0), "contradicted"),
    ],
)
def test_orders_and_saturation(
    plan_of: PlanOf, store: Store, expect: str, gains: tuple[float, ...], verdict: str
) -> None:
    bound = {"bound": 2.0} if expect == "saturating" else {}
    entry = claim(expect, **LADDER, **bound)
    table = named(gains, (0, 0, 0), (4, 9, 16))
    found = only(plan_of, store, entry, table, noise=0.1, changes={"factors": THREE})
    assert found.judgement.verdict == verdict
    assert [part.name for part in found.parts] == ["tokens 4 → 9", "tokens 9 → 16"]
    assert len(found.pairs) == 2


@pytest.mark.parametrize(
    ("expect", "perceiver", "average", "verdict"),
    [
        ("larger", (0, 5), (0, 20), "replicated"),
        ("smaller", (0, 5), (0, 20), "contradicted"),
        ("smaller", (0, 20), (0, 5), "replicated"),
        ("larger", (0, 10), (0, 10), "contradicted"),  # no interaction that matters
        ("flips", (0, -10), (0, 10), "replicated"),
        ("flips", (0, 5), (0, 20), "contradicted"),
    ],
)
def test_interactions(
    plan_of: PlanOf, store: Store, expect: str, perceiver: tuple[float, ...], average: tuple[float, ...], verdict: str
) -> None:
    entry = claim(expect, **TOKENS, between={"pooling": ["perceiver", "average"]})
    found = only(plan_of, store, entry, named(perceiver, average))
    assert found.judgement.verdict == verdict
    assert found.main is not None
    assert found.main.difference.interval is not None
    change = (average[1] - average[0]) - (perceiver[1] - perceiver[0])
    assert found.main.difference.interval.mean == pytest.approx(change)
    assert [len(group) for group in found.held[0].values] == [4]


def test_stability_counts_trainings(plan_of: PlanOf, store: Store) -> None:
    lost = [f"tokens={n},pooling=average/{seed}" for n in (4, 9) for seed in range(3)]
    changes = {"claims": [claim("diverges", where={"pooling": "average"}), claim("stable", **AT), claim("stable")]}
    plan = plan_of(SEEDS, positive_control=None, **changes)
    found = claim_results(finished(plan, store, named([0, 0], [0, 0]), diverged=lost))
    assert [each.diverged for each in found] == [(6, 6), (0, 6), (6, 12)]
    assert [each.judgement.verdict for each in found] == ["replicated", "replicated", "contradicted"]


def test_a_training_that_two_variants_share_is_one(plan_of: PlanOf, store: Store) -> None:
    factors = {"shots": {"key": "evaluation.shots", "levels": [0, 2]}}
    changes = {"factors": factors, "baseline": {}, "claims": [claim("stable")], "positive_control": None}
    (found,) = claim_results(finished(plan_of(SEEDS, **changes), store, {"shots=0": 0, "shots=2": 5}))
    assert found.diverged == (0, 3)


def test_a_group_whose_variant_diverged_is_left_out_and_named(plan_of: PlanOf, store: Store) -> None:
    lost = [f"tokens=9,pooling=average/{seed}" for seed in range(3)]
    found = only(plan_of, store, claim("better", **TOKENS), named([0, 10], [0, 0]), diverged=lost)
    assert found.judgement.verdict == "replicated"
    assert "1 of 2 groups" in found.notes[0]
    assert "tokens=9,pooling=average" in found.notes[0]


def test_efficiency_reads_the_curves(plan_of: PlanOf, store: Store) -> None:
    fast, slow = [8.0, 4.0, 2.0, 1.0, 0.5, 0.4], [8.0, 7.0, 6.0, 5.0, 4.0, 3.0]
    losses = dict.fromkeys(named([0, 0], [0, 0]), slow) | {"tokens=9,pooling=perceiver": fast}
    entry = {"id": "PV-07", "expect": "cheaper", "cost": "steps", **TOKENS, **AT}
    found = only(plan_of, store, entry, named([0, 0], [0, 0]), losses=losses)
    assert found.ratio is not None
    assert found.ratio.interval is not None
    assert found.ratio.interval.mean == pytest.approx((6 + 3) / (6 + 6))  # the first phase counts, both took 6 steps
    assert (found.ratio.reached, found.ratio.pairs, found.ratio.seeds) == (3, 3, 3)
    assert found.judgement.verdict == "undecided"  # three equal seeds say nothing of a fourth


def test_what_was_held_equal_comes_from_the_runs(plan_of: PlanOf, store: Store) -> None:
    found = only(plan_of, store, claim("better", **TOKENS, **AT), named([0, 10], [0, 0]))
    held = {each.quantity: each for each in found.held}
    assert held["training steps"].values == ((100.0, 100.0),)  # two phases
    assert held["visual tokens"].values == ((4, 9),)
    assert {name for name, each in held.items() if each.spread == 0} == {
        "training steps",
        "images seen",
        "text tokens",
        "supervised tokens",
        "parameters",
        "trainable parameters",
        "train FLOPs",
    }
    assert held["visual tokens"].to_json()["equal"] is False


def test_one_seed_is_conditional(plan_of: PlanOf, store: Store) -> None:
    found = only(plan_of, store, claim("better", **TOKENS, **AT), named([0, 10], [0, 0]), seeds="seeds=[0]")
    assert found.is_conditional
    assert found.judgement.verdict == "replicated"
    known = {"analysis": {"primary": "mean", "min_effect": 3.0, "seed_noise": {"mean": 8.0, "degrees": 9}}}
    floored = only(
        plan_of,
        Store(store.root / "b"),
        claim("better", **TOKENS, **AT),
        named([0, 10], [0, 0]),
        seeds="seeds=[0]",
        changes=known,
    )
    assert floored.is_conditional
    assert floored.judgement.verdict == "undecided"  # within what seeds of this scale do by themselves
    assert floored.judgement.seeds_to_decide is not None


def test_before_the_runs_nothing_is_tested(plan_of: PlanOf, store: Store, table_of: Callable[[Plan], Table]) -> None:
    claims = [
        claim("better", **TOKENS),
        claim("flips", **TOKENS, between={"pooling": ["perceiver", "average"]}),
        claim("stable"),
        claim("cheaper", cost="flops", **TOKENS),
        claim("saturating", **LADDER),
    ]
    found = claim_results(table_of(plan_of(SEEDS, claims=claims, factors=THREE, positive_control=None)))
    assert [each.judgement.verdict for each in found] == ["undecided"] * 5
    assert not any(each.is_tested for each in found)
    assert all(each.judgement.reason for each in found)


def test_json_has_stable_keys(plan_of: PlanOf, store: Store) -> None:
    table = finished(plan_of(SEEDS), store, named([0, 10], [0, 20]))
    (value,) = to_json(table)["claims"]
    assert value["verdict"] == "contradicted"
    assert {"id", "expect", "benchmark", "contrast", "where", "pairs", "published"} <= value.keys()
    assert value["pairs"][0]["from"] == "tokens=4,pooling=perceiver"
    assert {"id": "MM-05", "relation": "conflict"} in value["related"]


@pytest.mark.parametrize(
    "change",
    [{"expect": "biger"}, {"contrast": {}}, {"bound": "x"}, {"between": None}, {"contrast": {"tokens": ["4"]}}],
)
def test_a_damaged_record_is_refused(plan: Plan, change: dict[str, Any]) -> None:
    value = record(plan)
    value["claims"] = [{**value["claims"][0], **change}]
    with pytest.raises(HarnessError, match="damaged"):
        SavedSweep.of(value)


def test_agreement_counts_signs(plan_of: PlanOf, store: Store) -> None:
    claims = [
        claim("better", **TOKENS, **AT),
        claim("worse", **TOKENS, **AT),
        claim("better", contrast={"pooling": ["average", "perceiver"]}, where={"tokens": 4}),
        claim("equivalent", **TOKENS, **AT),
    ]
    plan = plan_of(SEEDS, claims=claims, positive_control=None)
    found = claim_results(finished(plan, store, named([0, 10], [0.1, 0])))
    summary = Summary({"a": found, "b": found[:1]}, {"c": "damaged"})
    value = summary.to_json()
    assert (value["claims"], value["tested"], value["distinct"]) == (5, 5, 1)
    assert value["decided"] + value["undecided"] == 5
    assert (summary.decided.agree, summary.decided.count) == (2, 3)  # two of nearly 0 are no sign
    assert summary.measured.count == 4
    assert {tuple(each["claims"]) for each in value["literature_conflicts"]} >= {("I2-13", "HB-04"), ("I2-13", "MM-05")}
    assert value["unread"] == {"c": "damaged"}


@pytest.mark.parametrize(("agree", "count", "beyond"), [(6, 6, True), (5, 5, False), (0, 6, True), (0, 0, None)])
def test_chance(agree: int, count: int, beyond: bool | None) -> None:
    assert Agreement(agree, count, 0.95).is_beyond_chance is beyond


def test_a_sweep_without_telemetry_says_which_stage(plan_of: PlanOf, tmp_path: Path, store: Store) -> None:
    plan = plan_of(claims=[claim("cheaper", cost="flops", **TOKENS, **AT)], positive_control=None)
    for stage_id in (*plan.runs[0].features, *plan.runs[0].train):
        finish(store, plan.stages[stage_id], {"out.bin": b"x"}, {**train_summary(), **BUDGET})
    with pytest.raises(HarnessError, match=r"no output 'telemetry\.parquet'"):
        make_table(SavedSweep.of(record(plan)), store)
