from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
from toy_graphs import Toys

from harness.launch.pace import Pace, seconds_left, share_left
from harness.store import Store


def told(first: int, step: int, elapsed: float, steps: int = 100) -> dict[str, object]:
    return {
        "wall_seconds": elapsed,
        "first": {"wall_seconds": 5.0, "progress": {"step": first}},
        "progress": {"step": step, "steps": steps},
    }


def test_what_is_left_is_told_by_the_steps_of_this_attempt() -> None:
    assert seconds_left(told(60, 80, 25.0)) == pytest.approx(20.0)  # the 60 steps of attempts before say nothing
    assert seconds_left(told(1, 100, 25.0)) == 0.0


@pytest.mark.parametrize(
    "report",
    [
        {},
        told(60, 60, 5.0),
        {"progress": {"step": 3, "steps": 9}},
        {"first": None},
        {**told(1, 2, 9.0), "wall_seconds": "?"},
    ],
)
def test_one_report_tells_no_speed(report: dict[str, object]) -> None:
    assert seconds_left(report) is None


def test_a_report_tells_the_seconds_of_its_own_machine(store: Store, toys: Toys) -> None:
    stage = toys.stage("a")
    work = store.open(stage)
    with mock.patch("harness.store.workspace.time") as clock:
        for step, moment in ((7, 1e6), (8, 1e6 + 0.1), (9, 1e6 + 4.0)):
            clock.monotonic.return_value = moment
            work.report(step=step, steps=11)
    report = store.progress(stage)
    assert report["first"]["progress"]["step"] == 7
    assert report["wall_seconds"] - report["first"]["wall_seconds"] == pytest.approx(4.0)
    assert seconds_left(report) == pytest.approx(4.0)
    assert Path(work.directory / "progress.json").exists()


def test_the_share_that_is_left() -> None:
    assert share_left({"step": 30, "steps": 120}) == 0.75
    assert share_left({}) == share_left({"step": "?", "steps": 1}) == share_left({"step": 9, "steps": 3}) == 1.0


def test_a_stage_takes_what_those_nearest_in_flops_took() -> None:
    large = [("train", 1000 + n, 500.0) for n in range(9)]
    pace = Pace([("train", 10, 30.0), ("train", 10, 10.0), ("train", 10, 20.0), ("evaluate", 1, 7.0), *large])
    assert pace.seconds("train", 10) == 20.0
    assert pace.seconds("train", 1004) == pytest.approx(500.0, rel=0.01)
    assert pace.seconds("train", 2008) == pytest.approx(1000.0, rel=0.01)
    assert pace.seconds("evaluate", 0) == 7.0
    assert pace.seconds("features", 5) is None
