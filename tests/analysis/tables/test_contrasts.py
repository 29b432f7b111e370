from __future__ import annotations

import hashlib
from collections.abc import Callable

from harness.analysis import Table
from harness.analysis.claims.results import claim_results
from harness.analysis.document import to_json
from harness.analysis.tables.contrasts import control_result
from harness.plan import Plan
from harness.store import Store
from tests.synthetic import finish_run


def scorer(variant: str, task: str, seed: int, condition: str, number: int) -> float:
    """Nine tokens are 10 points better than four, 20 on TextVQA, with some noise that differs by variant."""
    if condition != "intact":
        return 5.0
    gain = 20.0 if task == "textvqa" else 10.0
    noise = float(number * (3 if "average" in variant else 5) % 7) * (0.5 if "tokens=9" in variant else 0.4)
    return 30.0 + 3 * number + noise + (gain if "tokens=9" in variant else 0.0)


def finished(plan: Plan, store: Store) -> None:
    for run in plan.runs:
        finish_run(store, plan, run, scorer)


def test_a_claim_is_second_level_minus_first_where_it_says(
    plan: Plan, store: Store, table_of: Callable[[Plan], Table]
) -> None:
    finished(plan, store)
    (claim,) = claim_results(table_of(plan))
    assert claim.claim.id == "I2-13"
    (pair,) = claim.pairs
    assert (pair.first, pair.second) == ("tokens=4,pooling=perceiver", "tokens=9,pooling=perceiver")
    interval = pair.difference.interval
    assert interval is not None
    assert 11 < interval.mean < 14
    assert interval.low is not None
    assert interval.low > 5
    assert claim.published
    assert all(row["claim_id"] == "I2-13" for row in claim.published)


def test_without_where_every_pair_is_shown(
    plan_of: Callable[..., Plan], store: Store, table_of: Callable[[Plan], Table]
) -> None:
    claims = [{"id": "I2-13", "contrast": {"tokens": [9, 4]}, "expect": "worse", "benchmark": "coco"}]
    plan = plan_of(claims=claims)
    finished(plan, store)
    (claim,) = claim_results(table_of(plan))
    assert [(pair.first, pair.second) for pair in claim.pairs] == [
        ("tokens=9,pooling=perceiver", "tokens=4,pooling=perceiver"),
        ("tokens=9,pooling=average", "tokens=4,pooling=average"),
    ]
    for pair in claim.pairs:
        assert pair.difference.interval is not None
        assert pair.difference.interval.mean < -5


def test_the_control_is_decided_when_its_interval_is_above_zero(
    plan: Plan, store: Store, table_of: Callable[[Plan], Table]
) -> None:
    finished(plan, store)
    control = control_result(table_of(plan))
    assert control is not None
    assert control.contrast.benchmark == "textvqa"
    assert control.pairs[0].difference.interval is not None
    assert 18 < control.pairs[0].difference.interval.mean < 22
    assert control.is_decided is True


def test_a_contrast_the_wrong_way_round_is_not_decided(
    plan_of: Callable[..., Plan], store: Store, table_of: Callable[[Plan], Table]
) -> None:
    plan = plan_of(positive_control={"contrast": {"tokens": [9, 4]}, "benchmark": "textvqa"})
    finished(plan, store)
    control = control_result(table_of(plan))
    assert control is not None
    assert control.is_decided is False


def test_a_gain_within_the_noise_is_not_decided(plan: Plan, store: Store, table_of: Callable[[Plan], Table]) -> None:
    def noisy(variant: str, task: str, seed: int, condition: str, number: int) -> float:
        return 50.0 + (15.0 if "tokens=9" in variant else 0.0) + (hash_of(variant, task, number) % 60 - 30)

    for run in plan.runs:
        finish_run(store, plan, run, noisy)
    control = control_result(table_of(plan))
    assert control is not None
    interval = control.pairs[0].difference.interval
    assert interval is not None
    assert interval.low is not None
    assert interval.low < 0 < interval.mean
    assert control.is_decided is False


def hash_of(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")


def test_before_the_runs_nothing_is_decided(plan: Plan, store: Store, table_of: Callable[[Plan], Table]) -> None:
    table = table_of(plan)
    control = control_result(table)
    assert control is not None
    assert control.is_decided is None
    value = to_json(table)
    assert value["claims"][0]["pairs"][0]["mean"] is None
    assert value["positive_control"]["decided"] is None


def test_contrasts_change_levels_of_several_factors_at_once(
    plan_of: Callable[..., Plan], store: Store, table_of: Callable[[Plan], Table]
) -> None:
    contrast = {"tokens": [4, 9], "pooling": ["average", "perceiver"]}
    plan = plan_of(claims=[{"id": "I2-12", "contrast": contrast, "expect": "better"}])
    finished(plan, store)
    (claim,) = claim_results(table_of(plan))
    assert [(p.first, p.second) for p in claim.pairs] == [("tokens=4,pooling=average", "tokens=9,pooling=perceiver")]
