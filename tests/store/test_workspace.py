from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from harness.errors import HarnessError
from harness.store import LeaseLost, Stage, StorageFull, Store, Workspace, workspace
from harness.store.record import Record


@pytest.fixture
def work(store: Store, stage: Stage) -> Workspace:
    return store.open(stage)


def test_all_that_lies_there_is_an_output_but_what_is_not(work: Workspace) -> None:
    work.write_bytes("a.bin", b"a")
    work.write_json("deep/b.json", {"b": 1})
    with work.replace_directory("model") as folder:
        (folder / "weights").write_bytes(b"w")
        (folder / ".hidden").write_bytes(b"part of the model")
    (work.directory / "plain.txt").write_text("written by a library")
    (work.directory / ".cache").mkdir()
    (work.directory / ".cache" / "x").touch()
    (work.scratch / "checkpoint").write_bytes(b"c")
    work.report(step=1)
    work.log.write_text("log")

    record = work.finish(summary={"score": numpy.float32(1.5), "loss": float("nan")})

    assert sorted(record.outputs) == ["a.bin", "deep/b.json", "model/.hidden", "model/weights", "plain.txt"]
    assert record.summary == {"score": 1.5, "loss": None}
    assert record.outcome == "complete"
    left = {path.name for path in work.directory.iterdir()}
    assert not {"scratch", "progress.json"} & left
    assert {"log.txt", "attempts", "done.json", "stage.json"} <= left


def test_a_finished_stage_takes_nothing_more(store: Store, stage: Stage, work: Workspace) -> None:
    work.finish()
    acts: list[Callable[[], object]] = [
        work.finish,
        lambda: work.write_bytes("a", b""),
        lambda: work.write_json("a", 1),
    ]
    for act in acts:
        with pytest.raises(RuntimeError, match="finished"):
            act()
    again = store.open(stage)
    assert again.finished == work.finished
    with pytest.raises(RuntimeError, match="finished"):
        again.finish()


def test_an_unknown_outcome_is_refused(work: Workspace) -> None:
    with pytest.raises(ValueError, match="outcome"):
        work.finish("perfect")  # type: ignore[arg-type]
    assert work.finish("diverged").outcome == "diverged"


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ".", ""])
def test_paths_outside_are_refused(work: Workspace, name: str) -> None:
    with pytest.raises((HarnessError, ValueError)):
        work.write_bytes(name, b"")


@pytest.mark.parametrize("name", ["done.json", "stage.json", "progress.json", "log.txt", "attempts/1.json", "slurm/x"])
def test_the_stores_own_files_are_refused(work: Workspace, name: str) -> None:
    with pytest.raises(HarnessError, match="kept by the store"):
        work.write_bytes(name, b"")


def test_links_lead_nowhere(work: Workspace, tmp_path: Path) -> None:
    (work.directory / "out").symlink_to(tmp_path)
    with pytest.raises(HarnessError, match="through a link"):
        work.write_bytes("out/x", b"")
    with pytest.raises(HarnessError, match="not a plain file"):
        work.finish()
    (work.directory / "out").unlink()
    (work.directory / "file").symlink_to("/etc/hostname")
    with pytest.raises(HarnessError, match="not a plain file"):
        work.finish()


def test_absolute_paths_inside_are_taken(work: Workspace) -> None:
    assert work.write_bytes(work.directory / "a", b"1") == work.directory / "a"


def test_reports_are_throttled_on_disk_and_all_heard(
    store: Store, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    work = store.open(stage, listener=heard.append)
    work.report(step=1, loss=float("inf"))
    work.report(step=2)
    assert heard == [{"step": 1, "loss": None}, {"step": 2}]
    assert store.progress(stage)["progress"] == {"step": 1, "loss": None}
    monkeypatch.setattr(workspace, "REPORT_SECONDS", 0.0)
    work.report(step=3)
    assert store.progress(stage)["progress"] == {"step": 3}


def test_progress_that_cannot_be_written_is_no_failure(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise StorageFull(work.directory)

    monkeypatch.setattr(workspace.atomic, "write_json", full)
    work.report(step=1)


def test_leaving_with_an_error_records_it_and_gives_the_stage_up(store: Store, stage: Stage) -> None:
    with pytest.raises(ZeroDivisionError), store.open(stage) as work:  # noqa: PT012
        work.write_bytes("part", b"1")
        raise ZeroDivisionError("by zero")
    (attempt,) = store.attempts(stage)
    assert (attempt.state, attempt.reason) == ("failed", "ZeroDivisionError: by zero")
    with store.open(stage) as work:
        assert work.attempt == 2
        assert (work.directory / "part").read_bytes() == b"1"
        work.finish()
    assert [attempt.state for attempt in store.attempts(stage)] == ["failed", "finished"]


def test_leaving_without_finishing_is_a_failure(store: Store, stage: Stage) -> None:
    with store.open(stage):
        pass
    (attempt,) = store.attempts(stage)
    assert attempt.state == "failed"
    assert "without calling finish" in attempt.reason


KILLED = """
import json, sys, time
from harness.store import Store, Stage
store = Store(sys.argv[1])
work = store.open(Stage.from_json(json.loads(sys.argv[2])), job="77")
work.scratch.joinpath("state").write_text("step 4")
while time.process_time() < 0.5: pass
work.report(step=4)
print("ready", flush=True)
time.sleep(60)
"""


def test_the_time_of_several_processes_is_counted(store: Store, stage: Stage) -> None:
    with store.open(stage) as work:
        work.processes = 1000
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
        record = work.finish()
    assert record.core_seconds > 40
    assert record.wall_seconds < 40


def test_a_killed_attempt_is_resumed_and_its_time_counted(store: Store, stage: Stage, script: Any) -> None:
    process = script(KILLED, store.root, json.dumps(stage.to_json()))
    (running,) = store.attempts(stage)
    assert (running.state, running.job, running.owner["pid"]) == ("running", "77", process.pid)
    assert running.is_alive() is True
    process.kill()
    process.wait()

    with store.open(stage) as work:
        assert (work.scratch / "state").read_text() == "step 4"
        record = work.finish()

    first, second = store.attempts(stage)
    assert first.state == "killed"
    assert 0.2 < first.core_seconds < 30
    assert second.state == "finished"
    assert record.total_core_seconds == pytest.approx(first.core_seconds + record.core_seconds, abs=0.01)


def test_work_whose_lease_was_taken_over_stops_before_it_publishes(store: Store, stage: Stage, work: Workspace) -> None:
    work.write_bytes("a", b"1")
    (store.root / "leases" / stage.id / "2.json").write_text("{}")
    with pytest.raises(LeaseLost):
        work.finish()
    with pytest.raises(LeaseLost):
        work.write_bytes("a", b"2")
    assert not store.is_done(stage)


def test_a_lease_that_is_lost_during_the_last_digests_is_noticed(
    store: Store, stage: Stage, work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest_outputs = workspace.record.digest_outputs

    def slow(directory: Path) -> Any:
        (store.root / "leases" / stage.id / "2.json").write_text("{}")
        return digest_outputs(directory)

    monkeypatch.setattr(workspace.record, "digest_outputs", slow)
    with pytest.raises(LeaseLost):
        work.finish()
    assert not store.is_done(stage)


def test_the_record_says_where_it_came_from(work: Workspace) -> None:
    time.sleep(0.01)
    record: Record = work.finish()
    assert record.provenance["host"] == os.uname().nodename
    assert {"torch", "transformers", "numpy"} <= set(record.provenance["packages"])
    assert record.provenance["git"] is None or len(record.provenance["git"]["commit"]) == 40
    assert record.wall_seconds > 0
    stored = json.loads((work.directory / "done.json").read_text())
    assert stored["provenance"] == record.provenance


def test_an_input_that_was_not_declared_is_an_error(work: Workspace) -> None:
    with pytest.raises(KeyError, match="has no input 'model'"):
        work.input("model")


def test_an_attempt_after_one_that_ran_out_of_memory_works_with_half(store: Store, stage: Stage) -> None:
    for expected in (8, 4, 2, 1):
        work = store.open(stage)
        assert work.within_memory(8) == expected
        work.fail("out of memory", retryable=True, out_of_memory=True)
    work = store.open(stage)
    with pytest.raises(HarnessError, match="one sample at a time"):
        work.within_memory(8)
    assert work.within_memory(64) == 4
    assert work.finish().summary == {"batch_halved": 4}


def test_without_that_nothing_is_halved_and_nothing_told(store: Store, stage: Stage) -> None:
    store.open(stage).fail("crashed", retryable=True)
    work = store.open(stage)
    assert work.within_memory(8) == 8
    assert work.finish().summary == {}
