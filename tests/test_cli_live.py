"""What a run shows while it goes on."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from harness.analysis import SavedSweep, make_table
from harness.cli.live import LiveView, PlainLines
from harness.cli.tracker import Tracker
from harness.launch.events import Event
from harness.plan import Costs, Plan, measure
from harness.plan.cost import StageCost
from harness.store import Store
from tests.synthetic import finish_run, make_plan, record, write_sweep


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make_plan(write_sweep(tmp_path_factory.mktemp("plan")))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tracker(plan: Plan, clock: Clock) -> Tracker:
    costs = Costs(measure(plan), {stage_id: StageCost(1, 10.0, "recorded") for stage_id in plan.stages})
    return Tracker(plan, costs, 2, clock)


def test_the_estimate_is_that_of_the_plan_before_anything_ran(tracker: Tracker, plan: Plan) -> None:
    assert tracker.left() == 10.0 * len(plan.stages) / 2


def test_finished_stages_correct_the_estimate(tracker: Tracker, plan: Plan, clock: Clock) -> None:
    first, *rest = plan.stages.values()
    tracker.hear(Event("started", first))
    clock.now += 20.0  # twice what was estimated
    tracker.hear(Event("finished", first, outcome="complete"))
    assert tracker.left() == 20.0 * len(rest) / 2
    assert tracker.stages_done == 1


def test_running_stages_count_by_their_own_speed(tracker: Tracker, plan: Plan, clock: Clock) -> None:
    stage = next(iter(plan.stages.values()))
    tracker.hear(Event("started", stage))
    tracker.hear(Event("progress", stage, progress={"step": 100, "steps": 300, "loss": 1.25}))  # resumed at 100
    clock.now += 50.0
    tracker.hear(Event("progress", stage, progress={"step": 150, "steps": 300, "loss": 1.0}))
    active = tracker.active[stage.id]
    assert active.left(clock.now) == 150.0
    assert active.words(clock.now) == "step 150/300, loss 1.000, 2 min 30 s left"
    assert active.share() == 0.5


def test_reused_stages_say_nothing_about_speed(tracker: Tracker, plan: Plan) -> None:
    for stage in list(plan.stages.values())[:6]:
        tracker.hear(Event("reused", stage, outcome="complete"))
    assert tracker.left() == 10.0 * (len(plan.stages) - 6) / 2


def test_a_run_is_told_once_when_its_last_stage_is_done(tracker: Tracker, plan: Plan) -> None:
    told = []
    for stage_id in plan.runs[0].stages:
        told += tracker.hear(Event("finished", plan.stages[stage_id], outcome="complete"))
    assert told == [plan.runs[0]]
    assert tracker.runs_done == 1
    assert tracker.hear(Event("started", plan.stages[plan.runs[1].train[0]])) == []


def test_a_diverged_run_is_never_complete(tracker: Tracker, plan: Plan) -> None:
    told = []
    for stage_id in plan.runs[0].stages:
        outcome = "diverged" if stage_id == plan.runs[0].train[1] else "complete"
        told += tracker.hear(Event("finished", plan.stages[stage_id], outcome=outcome))
    assert told == []


def test_a_stage_that_is_retried_is_not_active(tracker: Tracker, plan: Plan) -> None:
    stage = next(iter(plan.stages.values()))
    tracker.hear(Event("started", stage))
    tracker.hear(Event("retrying", stage, reason="killed"))
    assert not tracker.active
    assert stage.id not in tracker.ended


def test_nothing_is_left_at_the_end(tracker: Tracker, plan: Plan) -> None:
    for stage in plan.stages.values():
        tracker.hear(Event("finished", stage, outcome="complete"))
    assert tracker.left() == 0.0


def test_plain_lines(tracker: Tracker, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path / "results")
    sweep = SavedSweep.of(record(plan))
    run = plan.runs[0]
    finish_run(store, plan, run)
    view = PlainLines(tracker, lambda: make_table(sweep, store))
    stage = plan.stages[run.train[0]]
    with view:
        view.hear(Event("started", stage, attempt=2))
        view.hear(Event("progress", stage, progress={"step": 1, "steps": 4}))
        view.hear(Event("failed", stage, reason="OSError: x", tail="line\nlast", log=Path("/a/log.txt")))
        for stage_id in run.stages:
            view.hear(Event("finished", plan.stages[stage_id], outcome="complete"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"[00:00] train {stage.slug}: begun (attempt 2)"
    assert lines[1] == f"[00:00] train {stage.slug}: failed: OSError: x"
    assert "    log: /a/log.txt" in lines
    assert lines[-1].startswith("[00:00] tokens=9,pooling=perceiver seed 0: mean ")
    assert not [line for line in lines if "step 1/4" in line]  # not more often than every few seconds


def test_the_live_view_shows_work_and_the_partial_table(tracker: Tracker, plan: Plan, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    sweep = SavedSweep.of(record(plan))
    for number in (0, 1):
        finish_run(store, plan, plan.runs[number])
    view = LiveView(tracker, lambda: make_table(sweep, store))
    view._console = Console(file=io.StringIO(), width=120, height=50)
    for stage_id in plan.runs[0].stages:
        view.hear(Event("finished", plan.stages[stage_id], outcome="complete"))
    stage = plan.stages[plan.runs[2].train[0]]
    view.hear(Event("started", stage))
    view.hear(Event("progress", stage, progress={"step": 1, "steps": 4, "loss": 2.0}))
    screen = io.StringIO()
    Console(file=screen, width=120).print(view.render())
    text = screen.getvalue()
    assert "1/4 runs" in text
    assert "8/26 stages" in text
    assert stage.slug in text
    assert "step 1/4, loss 2.000" in text
    assert "VQAv2" in text
    assert all(len(line) <= 120 for line in text.splitlines())
