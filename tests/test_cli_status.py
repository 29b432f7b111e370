"""What ``harness status`` says of each run, and how it follows a sweep; without a cluster."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from harness.cli import main, standing, watching
from harness.launch.slurm import queue as slurm_queue
from harness.launch.slurm import warden
from harness.launch.slurm.queue import Job, array_name
from harness.plan import Plan
from harness.report.layout import width
from harness.report.sources import open_sweep
from harness.store import Stage, Store, Workspace, record
from harness.store.batches import Batches
from tests.synthetic import finish, finish_run, make_plan, save_record, train_summary, write_sweep

ROOT = Path(__file__).parents[1]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Four variants, one of them finished, the features of all."""
    return make_plan(write_sweep(tmp_path))


@pytest.fixture
def store(tmp_path: Path, plan: Plan) -> Store:
    store = Store(tmp_path / "results")
    save_record(plan, store)
    finish_run(store, plan, plan.runs[0])
    for run in plan.runs:
        for stage_id in run.features:
            finish(store, plan.stages[stage_id], {"out.bin": b"x"})
    return store


def first_training(plan: Plan, run: int) -> Stage:
    return plan.stages[plan.runs[run].train[0]]


def report(work: Workspace, *points: tuple[int, float], loss: float = 2.5) -> None:
    """Steps of 100, and the seconds at which they were done."""
    began = time.monotonic()
    for step, seconds in points:
        with mock.patch("harness.store.workspace.time.monotonic", lambda s=seconds: began + s):
            work.report(step=step, steps=100, loss=loss)


def looking(store: Store) -> standing.View:
    return standing.looks(*open_sweep("pooling", (), store.root))()


def told(store: Store, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert main(["status", "pooling", "--json", "--results", str(store.root)]) == 3
    return json.loads(capsys.readouterr().out)


def test_a_run_says_how_far_it_is_where_and_what_went_wrong_before(
    plan: Plan, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = first_training(plan, 1)
    store.open(stage).fail("ValueError: a bad picture")
    work = store.open(stage)
    report(work, (20, 10.0), (60, 30.0))
    done, running, waiting, _ = told(store, capsys)["runs"]
    assert done["state"] == "complete"
    assert done["stage"] is done["left_seconds"] is done["step"] is None
    assert (running["state"], running["stage"]) == ("running", stage.id)
    assert (running["step"], running["steps"], running["loss"]) == (60, 100, 2.5)
    assert running["attempts"] == 2
    assert running["reason"] == "ValueError: a bad picture"
    assert running["node"] == os.uname().nodename
    assert running["job"] == ""
    # 40 steps at two a second, and what the stages behind it took in the finished run: next to nothing.
    assert 20.0 <= running["left_seconds"] < 22.0
    assert waiting["state"] == "waiting"
    assert waiting["left_seconds"] < 5.0
    assert work.attempt == 2


def test_the_left_of_a_stage_that_has_not_begun_is_what_its_like_took(
    plan: Plan, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluations = 0.0
    for stage_id in plan.runs[0].stages:
        stage = plan.stages[stage_id]
        path = store.path(stage) / "done.json"
        found = record.read(store.path(stage), stage)
        assert found is not None
        record.write(path.parent, replace(found, wall_seconds=100.0, core_seconds=1.0, total_core_seconds=1.5))
        evaluations += stage.kind == "evaluate"
    view = looking(store)
    sweep = view.sweep
    run = view.standing.runs[1]
    flops = [sweep.stages.flops(stage_id) for stage_id in run.run.train]
    before = [sweep.stages.flops(stage_id) for stage_id in plan.runs[0].train]
    # A chain of its trainings, then one evaluation beside the others; each attempt that died is paid for again.
    assert run.left_seconds == pytest.approx(
        sum(150 * f / b for f, b in zip(flops, before, strict=True)) + 150, rel=0.3
    )
    assert view.standing.left_seconds is None  # nobody is at work
    assert told(store, capsys)["left_seconds"] is None


def given(store: Store, stage: Stage) -> Job:
    batches = Batches(store.root)
    batch = batches.accepted(batches.add({0: stage}, {}), "41")
    return Job("41_0", array_name("pooling", batch), "PENDING", "Priority", "")


def test_a_queued_run_has_slurms_reason_from_one_squeue(
    plan: Plan, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = given(store, first_training(plan, 1))
    asked: list[object] = []
    monkeypatch.setattr(slurm_queue, "_jobs", lambda users: asked.append(users) or [job])
    run = told(store, capsys)["runs"][1]
    assert (run["state"], run["reason"], run["job"]) == ("queued", "Priority", "41_0")
    assert len(asked) == 1


@pytest.mark.parametrize("columns", [80, 120])
def test_it_fits_the_terminal(plan: Plan, store: Store, columns: int) -> None:
    work = store.open(first_training(plan, 1))
    report(work, (20, 10.0), (60, 30.0))
    work.fail("ValueError: the pictures of coco/val2014 cannot be read, all 40,504 of them: premature end of file")
    work = store.open(first_training(plan, 2))
    report(work, (3, 1.0), (12, 4.0))
    view = looking(store)
    lines = standing.text(view, columns)
    assert max(map(width, lines)) <= columns
    assert len(lines) < 14
    text = "\n".join(lines)
    assert re.search(r"failed\s+train align.* 60/100", text)
    assert "premature end of file" in re.sub(r"\s+", " ", text)
    assert re.search(r"running\s+train align.* 12/100 .*~29 s", text)
    assert work.attempt == 1


class Clock:
    """A pause in which something happens."""

    def __init__(self, *happenings: object) -> None:
        self.pauses: list[float] = []
        self._happenings = list(happenings)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if self._happenings:
            self._happenings.pop(0)()  # type: ignore[operator]


def test_in_a_pipe_watching_prints_what_changes_and_ends_with_the_sweep(
    plan: Plan, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    work = store.open(first_training(plan, 1))

    def end() -> None:
        work.finish(summary=train_summary(tokens=4))
        for run in plan.runs:
            finish_run(store, plan, run)

    clock = Clock(lambda: report(work, (1, 1.0)), lambda: report(work, (2, 2.0)), end)
    assert watching.watch(lambda: looking(store), clock.sleep) == 0
    out = capsys.readouterr().out.splitlines()
    assert sum("running" in line and "seed 0" in line for line in out) == 1  # steps are no change
    assert out[-1].split("] ")[1].startswith("pooling: 4 of 4 runs complete")
    assert sum(bool(re.match(r"\[..:..:..\] tokens=.*  complete$", line)) for line in out) == 3
    assert len(clock.pauses) == 3


def test_watching_ends_at_once_where_nothing_can_go_on(
    plan: Plan, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in (1, 2, 3):
        for stage_id in plan.runs[run].train[:1]:
            if not store.attempts(stage_id):
                store.open(plan.stages[stage_id]).fail("no good")
    clock = Clock()
    assert watching.watch(lambda: looking(store), clock.sleep) == 3
    assert clock.pauses == []


def test_watching_waits_a_while_for_somebody_to_go_on(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    assert watching.watch(lambda: looking(store), clock.sleep) == 3
    assert sum(clock.pauses) > watching.QUIET_SECONDS
    assert "nobody has worked on it" in capsys.readouterr().out


def test_a_sweep_with_a_warden_is_attended(store: Store, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Batches(store.root).run_file("pooling")
    run.parent.mkdir(parents=True)
    given(store, first_training(plan, 1))
    job = Job("50", warden.name(run), "PENDING", "Dependency", "")
    monkeypatch.setattr(slurm_queue, "_jobs", lambda users: [job])
    assert looking(store).is_attended
    monkeypatch.setattr(slurm_queue, "_jobs", lambda users: [])
    assert not looking(store).is_attended


def test_what_has_finished_is_read_once(plan: Plan, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    look = standing.looks(*open_sweep("pooling", (), store.root))
    first = look()
    monkeypatch.setattr(Store, "outcome", lambda self, stage: asked.append(stage.id))
    asked: list[str] = []
    assert look().found == first.found
    done = {stage_id for stage_id, each in first.found.items() if each.state == "done"}
    assert len(done) == 8
    assert set(asked) == first.found.keys() - done


def test_a_large_sweep_is_looked_at_less_often(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(0, 10_000, 7))
    monkeypatch.setattr(watching.time, "monotonic", lambda: float(next(moments)))
    view = looking(store)
    clock = Clock()
    watching.watch(lambda: view, clock.sleep)
    assert clock.pauses[0] == 70.0


def test_json_is_not_watched(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "pooling", "--watch", "--json", "--results", str(store.root)]) == 2
    assert "--watch" in capsys.readouterr().err


def test_on_a_terminal_it_is_drawn_in_its_place_and_ctrl_c_is_clean(plan: Plan, store: Store) -> None:
    work = store.open(first_training(plan, 1))
    report(work, (20, 10.0), (60, 30.0))
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "LINES": "12", "TERM": "xterm", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "harness", "status", "pooling", "--watch", "--results", str(store.root)]
    process = subprocess.Popen(
        command,
        stdout=follower,
        stderr=follower,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # ignored in the background
    )
    os.close(follower)
    seen = b""
    deadline = time.monotonic() + 60
    killer = threading.Timer(60, process.kill)
    killer.start()
    drawn = b""
    while time.monotonic() < deadline:
        if select.select([leader], [], [], 1.0)[0]:
            try:
                seen += os.read(leader, 65536)
            except OSError:
                break
        if b"60/100" in seen and not drawn:
            drawn = seen  # the signal may come in the middle of the next
            process.send_signal(signal.SIGINT)
    killer.cancel()
    os.close(leader)
    assert process.wait() == 3
    text = seen.decode()
    assert "tokens=4,pooling=perceiver seed 0" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is there again
    assert "Traceback" not in text
    assert "interrupted" not in text
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn.decode(errors="replace").replace("\x1b[1A", "\n"))
    assert [line for line in plain.splitlines() if len(line) > 80] == []
    assert work.attempt == 1
