"""``harness cancel``, ``logs`` and ``failures``, and ``-w`` for some of the runs, without a cluster."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import main
from harness.launch import slurm
from harness.plan import Plan
from harness.store import Owner, Stage, Store
from harness.store.batches import Batches
from tests.synthetic import make_plan, save_record, write_sweep


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Four variants, tokens and pooling, with two seeds."""
    return make_plan(write_sweep(tmp_path, seeds=[0, 1]))


@pytest.fixture
def store(tmp_path: Path, plan: Plan) -> Store:
    store = Store(tmp_path / "results")
    save_record(plan, store)
    return store


def trainings(plan: Plan) -> list[Stage]:
    return [stage for stage in plan.stages.values() if stage.kind == "train"]


def call(store: Store, *arguments: str) -> int:
    return main([*arguments, "--results", str(store.root)])


def fail(store: Store, stage: Stage, reason: str) -> None:
    for stage_id in stage.inputs.values():
        if not store.is_done(stage_id):
            pytest.fail("an input first")
    store.open(stage).fail(reason)


def test_the_selected_runs_are_cancelled_with_what_only_they_need(
    plan: Plan, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def cancel(store: Store, stages: list[Stage], title: str) -> slurm.Cancellation:
        assert title == "pooling"
        asked[:] = [stage.id for stage in stages]
        return slurm.Cancellation(["1_0", "1_1"], Counter({"anna": 1}))

    monkeypatch.setattr(slurm, "cancel", cancel)
    assert call(store, "cancel", "pooling") == 0
    assert set(asked) == set(plan.stages)
    told = capsys.readouterr()
    assert "2 jobs cancelled" in told.out
    assert "1 job of anna stays in the queue: anna can cancel it" in told.err
    assert call(store, "cancel", "pooling", "-w", "tokens=4", "-w", "!seed=0") == 0
    chosen = [run for run in plan.runs if run.seed == 1 and run.variant.levels["tokens"] == "4"]
    others = {stage_id for run in plan.runs if run not in chosen for stage_id in run.stages}
    assert set(asked) == {stage_id for run in chosen for stage_id in run.stages} - others
    assert asked


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("tokns=4", "did you mean tokens"),
        ("tokens=5", "has no level 5"),
        ("seed=7", "has no level 7"),
        ("tokens", "no condition"),
    ],
)
def test_conditions_that_name_nothing_are_refused(
    store: Store, capsys: pytest.CaptureFixture[str], condition: str, words: str
) -> None:
    assert call(store, "status", "pooling", "-w", condition) == 2
    assert words in capsys.readouterr().err
    assert call(store, "status", "pooling", "-w", "tokens=4", "-w", "!tokens=4") == 2
    assert "no run of pooling" in capsys.readouterr().err


def test_the_status_of_some_runs(plan: Plan, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(store, "status", "pooling", "-w", "seed=1", "--json") == 3
    told = json.loads(capsys.readouterr().out)
    assert {run["seed"] for run in told["runs"]} == {1}
    assert len(told["runs"]) == 4
    assert {stage["id"] for stage in told["stages"]} == {i for run in plan.runs if run.seed == 1 for i in run.stages}


def test_what_failed_is_submitted_anew_and_what_ran_out_of_memory_with_more(
    plan: Plan, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[set[str], bool]] = []

    def submit_anew(store: Store, title: str, stage_ids: set[str], more_memory: bool) -> slurm.Submission:
        asked.append((stage_ids, more_memory))
        return slurm.Submission(dict.fromkeys(stage_ids, "1_0"))

    monkeypatch.setattr(slurm, "retry", submit_anew)
    assert call(store, "retry", "pooling") == 0
    assert "nothing to try again" in capsys.readouterr().out
    first, second, *_ = [stage for stage in plan.stages.values() if stage.kind == "features"]
    store.open(first).fail("bad picture")
    store.open(second).fail("out of memory", retryable=True, out_of_memory=True)
    assert call(store, "retry", "pooling") == 0
    assert "2 jobs submitted" in capsys.readouterr().out
    assert call(store, "retry", "pooling", "--oom") == 0
    assert asked == [({first.id, second.id}, False), ({second.id}, True)]


def test_a_worker_elsewhere_is_tried_again_only_when_it_has_been_found_dead(
    plan: Plan, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (store.root / "lease.json").write_text(json.dumps({"patience": 0.5, "poll": 0.05}))
    living, dead, *_ = [stage for stage in plan.stages.values() if stage.kind == "features"]
    beats = []
    for stage in (living, dead):
        store.open(stage)
        folder = store.root / "leases" / stage.id
        (folder / "1.json").write_text(json.dumps(replace(Owner.current(), host="elsewhere").to_json()))
        beats.append(folder / "1.beat")
    asked: list[set[str]] = []

    def submit_anew(store: Store, title: str, stage_ids: set[str], more_memory: bool) -> slurm.Submission:
        asked.append(stage_ids)
        return slurm.Submission(dict.fromkeys(stage_ids, "1_0"))

    monkeypatch.setattr(slurm, "retry", submit_anew)
    ended = threading.Event()

    def beat() -> None:
        number = 10
        while not ended.wait(0.02):
            number += 1
            beats[0].write_text(f"{number:012d} {0:016.3f}\n")

    heart = threading.Thread(target=beat)
    heart.start()
    try:
        assert call(store, "retry", "pooling") == 0
    finally:
        ended.set()
        heart.join()
    assert asked == [{dead.id}]
    assert "looking whether 2 workers elsewhere still live" in capsys.readouterr().err


def test_failures_are_grouped_by_what_went_wrong(plan: Plan, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(store, "failures", "pooling") == 0
    assert "nothing has failed" in capsys.readouterr().out
    for stage in plan.stages.values():
        if stage.kind == "features":
            store.open(stage).finish()
    first, second, third, *_ = [stage for stage in trainings(plan) if all(map(store.is_done, stage.inputs.values()))]
    fail(store, first, "RuntimeError: bad tensor at 0x7f3210abcdef12 in /a/b.py, line 17")
    fail(store, second, "RuntimeError: bad tensor at 0x7f3210abcdef99 in /c/d.py, line 4")
    store.open(third).fail("out of memory: 9 bytes", retryable=True, out_of_memory=True)
    assert call(store, "failures", "pooling") == 3
    out = capsys.readouterr().out
    assert "2 stages failed: RuntimeError: bad tensor" in out
    assert "1 stage failed: out of memory" in out
    assert "halves the batches" in out
    assert "behind them cannot run" in out
    assert call(store, "failures", "pooling", "--json") == 3
    groups = json.loads(capsys.readouterr().out)
    assert [len(group["stages"]) for group in groups] == [2, 1]


def test_the_end_of_a_log_is_printed_by_the_beginning_of_an_id(
    plan: Plan, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = next(stage for stage in plan.stages.values() if stage.kind == "features")
    work = store.open(stage)
    work.log.write_text("".join(f"line {number}\n" for number in range(100)))
    work.finish()
    assert call(store, "logs", stage.id[:8]) == 0
    assert capsys.readouterr().out.splitlines() == [f"line {number}" for number in range(80, 100)]
    assert call(store, "logs", store.path(stage).name, "-n", "3", "-f") == 0
    assert capsys.readouterr().out.splitlines() == ["line 97", "line 98", "line 99"]
    assert call(store, "logs", "0000") == 1
    assert "no stage" in capsys.readouterr().err


def test_a_job_that_never_began_its_stage_is_read_in_its_batch(
    plan: Plan, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    stage, waiting, *_ = plan.stages.values()
    batches = Batches(store.root)
    batch = batches.accepted(batches.add({4: stage, 5: waiting}, {}), "77")
    store.register(stage)
    (batch.private / "77_4_0_log.out").write_text("module: command not found\n")
    assert call(store, "logs", stage.id) == 0
    assert "command not found" in capsys.readouterr().out
    assert call(store, "logs", waiting.id) == 1
    assert "has not begun" in capsys.readouterr().err
