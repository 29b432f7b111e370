"""A run ends when its budget is spent, and says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy_graphs import Toys

from harness.launch import local
from harness.launch.budget import NO_LIMIT, Budget, Ledger, budget_of
from harness.launch.events import Event
from harness.store import Stage, Store
from harness.store.attempts import KILLED


def ledger(store: Store, stages: list[Stage], gpus: int = 1, **limits: float) -> Ledger:
    return Ledger(store, stages, {stage.id: gpus for stage in stages}, budget_of(limits))


def test_nothing_is_spent_before_the_first_stage(store: Store, toys: Toys) -> None:
    stages = toys.chain(2)
    assert ledger(store, stages).spending() == {"gpu_hours": 0, "core_hours": 0, "jobs": 0, "disk_gb": 0}
    assert ledger(store, stages, gpu_hours=1e-9).obstacle() == ""


def test_attempts_are_added_up_also_those_that_failed_or_were_killed(store: Store, toys: Toys) -> None:
    stages = [*toys.chain(1, seconds=0.05), toys.stage("broken", behaviour="crash_once", seconds=0.05)]
    assert local.run(store, stages, processes=1, registry=toys.registry).complete
    spent = ledger(store, stages, gpus=2).spending()
    attempts = [attempt for stage in stages for attempt in store.attempts(stage)]
    assert len(attempts) == 3
    assert spent["gpu_hours"] == pytest.approx(2 * sum(a.wall_seconds for a in attempts) / 3600)
    assert spent["core_hours"] == pytest.approx(sum(a.core_seconds for a in attempts) / 3600)
    sizes = sum(o.size for s in stages if (r := store.record(s)) for o in r.outputs.values())
    assert spent["disk_gb"] == pytest.approx(sizes / 1e9)
    assert spent["gpu_hours"] > 0.3 * 2 / 3600


def test_what_others_end_had_spent_what_it_reported_last(store: Store, toys: Toys) -> None:
    (stage,) = toys.chain(1)
    workspace = store.open(stage)
    workspace.report(step=1)
    progress = json.loads((workspace.directory / "progress.json").read_text())
    progress |= {"wall_seconds": 7200.0, "core_seconds": 3600.0}
    (workspace.directory / "progress.json").write_text(json.dumps(progress))
    running = ledger(store, [stage], gpus=4)
    assert running.spending()["gpu_hours"] == 8.0, "while it runs"
    store.end_attempt(stage, 1, KILLED, "the node is gone")
    (workspace.directory / "progress.json").unlink()
    assert running.spending()["gpu_hours"] == 8.0
    assert running.spending()["core_hours"] == 1.0


@pytest.mark.parametrize(
    ("limits", "unit"),
    [({"gpu_hours": 0.0001}, "GPU-hours"), ({"core_hours": 1e-6}, "core-hours"), ({"disk_gb": 1e-9}, "GB on disk")],
)
def test_nothing_new_begins_when_it_is_spent(store: Store, toys: Toys, limits: dict[str, float], unit: str) -> None:
    stages = [*toys.chain(2, seconds=0.2), toys.stage("beside")]
    events: list[Event] = []
    book = ledger(store, stages, **limits)
    report = local.run(store, stages, processes=1, registry=toys.registry, ledger=book, on_event=events.append)
    assert [result.state for result in report.results.values()] == ["done", "blocked", "blocked"]
    assert unit in report.results[stages[1].id].reason
    assert "the budget is spent" in report.results[stages[2].id].reason
    assert [event.stage for event in events if event.kind == "blocked"] == stages[1:]
    assert local.run(store, stages, registry=toys.registry, ledger=ledger(store, stages)).complete, "raised"


def test_what_is_done_is_reused_whatever_is_left(store: Store, toys: Toys) -> None:
    stages = toys.chain(2)
    assert local.run(store, stages, registry=toys.registry).complete
    assert local.run(store, stages, registry=toys.registry, ledger=ledger(store, stages, core_hours=1e-9)).complete


def test_a_finished_stage_is_read_once(store: Store, toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = toys.chain(3)
    assert local.run(store, stages, registry=toys.registry).complete
    book = ledger(store, stages, core_hours=1.0)
    before = book.spending()
    monkeypatch.setattr(store, "attempts", None)
    assert book.spending() == before


def test_limits_survive_json() -> None:
    budget = Budget(gpu_hours=2.5, jobs=4)
    assert budget_of(json.loads(json.dumps(budget.limits))) == budget
    assert budget_of({}) == NO_LIMIT
    assert NO_LIMIT.overdrawn({"gpu_hours": 1e9, "core_hours": 1e9, "jobs": 1e9, "disk_gb": 1e9}) == []


def test_a_stage_that_never_was_has_no_size(store: Store, toys: Toys, tmp_path: Path) -> None:
    assert ledger(Store(tmp_path / "nowhere"), toys.chain(2), disk_gb=1.0).obstacle() == ""
