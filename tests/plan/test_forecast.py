from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from harness.plan import Plan, outlook
from harness.store import Store
from harness.store.batches import Batches
from tests.synthetic import finish, finish_run, make_plan, record, write_sweep


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make_plan(write_sweep(tmp_path_factory.mktemp("plan")))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def test_in_an_empty_store_everything_is_new(plan: Plan, store: Store) -> None:
    found = outlook(plan, store)
    assert set(found) == set(plan.stages)
    assert {each.state for each in found.values()} == {"run"}
    first, *_ = found.values()
    assert first.reason == "new: no stage of its kind has been computed here"
    assert not store.root.exists()


def test_a_stage_behind_a_new_one_says_so(plan: Plan, store: Store) -> None:
    run = plan.runs[0]
    found = outlook(plan, store)
    assert found[run.train[0]].reason == "new: its features will be new"
    assert found[run.train[1]].reason == "new: the phase before it will be new"
    assert found[run.evaluate["coco"]].reason == "new: its model will be new"


def test_what_is_done_is_reused_and_the_rest_says_what_differs(plan: Plan, store: Store) -> None:
    baseline = plan.runs[0]
    finish_run(store, plan, baseline)
    found = outlook(plan, store)
    for stage_id in baseline.stages:
        assert found[stage_id].state == "reuse"
        assert found[stage_id].reason.startswith("finished 20")
    other = next(run for run in plan.runs if run.variant.levels == {"tokens": "4", "pooling": "perceiver"})
    reason = found[other.train[0]].reason
    assert "model.connector.num_tokens: 9 → 4" in reason
    assert plan.stages[baseline.train[0]].name in reason


def test_the_nearest_of_several_finished_stages_is_named(plan: Plan, store: Store, tmp_path: Path) -> None:
    for run in plan.runs[:3]:
        finish_run(store, plan, run, tasks=())
    reseeded = make_plan(write_sweep(tmp_path / "again"), ["seeds=[5]"])
    found = outlook(reseeded, store, [record(plan)])
    run = next(run for run in reseeded.runs if run.variant.name == plan.runs[1].variant.name)
    assert found[run.train[0]].reason.startswith(
        f"new: differs from {plan.stages[plan.runs[1].train[0]].name} in seed: 0 → 5"
    )


def test_finished_stages_of_other_sweeps_are_compared_too(plan: Plan, store: Store, tmp_path: Path) -> None:
    finish_run(store, plan, plan.runs[0], tasks=())
    changed = make_plan(write_sweep(tmp_path / "other"), ["training.batch_size=6"])
    without, given = outlook(changed, store), outlook(changed, store, [record(plan)])
    first = changed.runs[0].train[0]
    assert without[first].reason == "new: no stage of its kind has been computed here"
    assert "phase.batch_size: 4 → 6" in given[first].reason


def test_what_was_begun_is_resumed(plan: Plan, store: Store) -> None:
    stage = next(iter(plan.stages.values()))
    workspace = store.open(stage)
    workspace.report(step=3, steps=10)
    busy = outlook(plan, store)[stage.id]
    assert (busy.state, "is working on it" in busy.reason) == ("resume", True)
    workspace.fail("worker killed", retryable=True)
    begun = outlook(plan, store)[stage.id]
    assert (begun.state, begun.reason) == ("resume", "attempt 1 failed: worker killed at step 3 of 10")


def test_only_submitted_is_not_begun(plan: Plan, store: Store) -> None:
    stage = next(iter(plan.stages.values()))
    batches = Batches(store.root)
    batches.accepted(batches.add({3: stage}, {}), "77")
    found = outlook(plan, store)[stage.id]
    assert (found.state, found.reason) == ("run", "submitted as job 77_3, not begun")


def test_a_diverged_stage_is_not_run_again(plan: Plan, store: Store) -> None:
    run = plan.runs[0]
    finish(store, plan.stages[run.features[0]])
    finish(store, plan.stages[run.train[0]], outcome="diverged")
    found = outlook(plan, store)[run.train[0]]
    assert (found.state, found.reason.endswith("it diverged")) == ("reuse", True)


def test_features_that_nothing_reads_any_more_are_skipped(plan: Plan, store: Store) -> None:
    """An export has none, and a table of it asks for none."""
    for run in plan.runs:
        finish_run(store, plan, run)
    run = plan.runs[0]
    for stage_id in run.features:
        shutil.rmtree(store.path(plan.stages[stage_id]))
    fresh = Store(store.root)
    states = {stage_id: each.state for stage_id, each in outlook(plan, fresh).items()}
    assert {stage_id for stage_id, state in states.items() if state == "skip"} == set(run.features)
    assert set(states.values()) == {"skip", "reuse"}
    shutil.rmtree(fresh.path(plan.stages[run.evaluate["coco"]]))
    states = {stage_id: each.state for stage_id, each in outlook(plan, Store(store.root)).items()}
    needed = set(plan.stages[run.evaluate["coco"]].inputs.values()) & set(run.features)
    assert needed
    assert all(states[stage_id] == "run" for stage_id in needed)
    assert all(states[stage_id] == "skip" for stage_id in set(run.features) - needed)


def test_a_damaged_record_does_not_stop_the_plan(plan: Plan, store: Store) -> None:
    stage = next(iter(plan.stages.values()))
    finish(store, stage)
    (store.path(stage) / "done.json").write_text("{")
    found = outlook(plan, store)[stage.id]
    assert found.state == "run"
    assert "damaged" in found.reason
    assert "--repair" in found.reason


def test_adding_a_seed_runs_only_the_seed(plan: Plan, store: Store, tmp_path: Path) -> None:
    for run in plan.runs:
        finish_run(store, plan, run)
    larger = make_plan(write_sweep(tmp_path / "larger"), ["seeds=[0,1]"])
    states = Counter((larger.stages[i].kind, each.state) for i, each in outlook(larger, store).items())
    assert states == {
        ("features", "reuse"): 2,
        ("train", "reuse"): 8,
        ("evaluate", "reuse"): 16,
        ("train", "run"): 8,
        ("evaluate", "run"): 16,
    }
