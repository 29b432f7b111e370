"""``harness gc``: what it lists, what it removes and what it does not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.cli import collecting, main
from harness.launch.budget import Budget, Ledger
from harness.launch.slurm import queue as slurm_queue
from harness.launch.slurm.queue import Job, QueueUnreachable, array_name
from harness.launch.slurm.resources import Resources
from harness.launch.slurm.runs import WantedRun
from harness.launch.slurm.snapshot import take
from harness.plan import Plan
from harness.store import Stage, Store
from harness.store.batches import Batch, Batches
from tests.synthetic import finish, finished_sweep


@pytest.fixture
def swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Plan, Store]:
    """A finished sweep without Slurm."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return finished_sweep(tmp_path)


def gc(store: Store, *arguments: str) -> int:
    return main(["gc", *arguments, "--results", str(store.root)])


def leave_things(plan: Plan, store: Store) -> tuple[Stage, Stage]:
    """A late checkpoint; a stage that was begun and one that was finished, which the sweep does not name."""
    folder = store.path(next(iter(plan.stages.values())))
    (folder / "scratch").mkdir()
    (folder / "scratch" / "checkpoint").write_bytes(bytes(2_000_000))
    begun, finished = Stage("train", 1, {"seed": 8}, slug="begun"), Stage("train", 1, {"seed": 9}, slug="finished")
    work = store.open(begun)
    work.write_bytes("scratch/checkpoint", bytes(1_000_000))
    work.fail("no time", retryable=True)
    finish(store, finished, {"model": bytes(5000)})
    return begun, finished


def whole(plan: Plan, store: Store) -> None:
    again = Store(store.root)
    for stage in plan.stages.values():
        again.outputs(stage)


def test_a_finished_sweep_has_nothing_to_remove(swept: tuple[Plan, Store], capsys: pytest.CaptureFixture[str]) -> None:
    assert gc(swept[1]) == 0
    assert "nothing to remove" in capsys.readouterr().out


def test_it_lists_and_removes_only_when_asked(swept: tuple[Plan, Store], capsys: pytest.CaptureFixture[str]) -> None:
    plan, store = swept
    begun, finished = leave_things(plan, store)
    before = sorted(path for path in store.root.rglob("*"))
    assert gc(store) == 0
    out = capsys.readouterr().out
    assert "scratch  checkpoints of finished stages" in out
    assert "2.00 MB" in out
    assert "nothing was removed; --delete does it" in out
    assert "with --unnamed also 1 finished stage" in out
    assert sorted(path for path in store.root.rglob("*")) == before
    assert gc(store, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert not told["deleted"]
    assert told["kinds"]["scratch"] == {"count": 1, "bytes": 2_000_000, "included": True}
    assert told["kinds"]["unnamed"]["included"] is False
    assert {item["stage"] for item in told["items"] if item["kind"] == "orphans"} == {begun.id}
    assert gc(store, "--delete") == 0
    assert "can go" not in capsys.readouterr().out
    again = Store(store.root)
    assert again.find(begun.id) is None
    assert again.is_done(finished)
    whole(plan, store)
    assert gc(store, "--delete", "--unnamed", "--json") == 0
    assert json.loads(capsys.readouterr().out)["removed"]["count"] == 1
    assert Store(store.root).find(finished.id) is None
    whole(plan, store)
    assert main(["status", "pooling", "--results", str(store.root)]) == 0


def test_a_record_that_cannot_be_read_keeps_everything(
    swept: tuple[Plan, Store], capsys: pytest.CaptureFixture[str]
) -> None:
    plan, store = swept
    begun, _ = leave_things(plan, store)
    (store.root / "sweeps" / "other").mkdir()
    (store.root / "sweeps" / "other" / "sweep.json").write_text('{"stages": [')
    assert gc(store, "--delete") == 1
    assert "what it names is not known" in capsys.readouterr().err
    assert Store(store.root).find(begun.id) is not None


def test_a_folder_that_is_none_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gc", "--results", str(tmp_path / "none")]) == 1
    assert "no results folder" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def given(store: Store, job: str, *stages: Stage) -> Batch:
    batches = Batches(store.root)
    return batches.accepted(batches.add(dict(enumerate(stages)), {}), job)


def job(batch: Batch, state: str) -> Job:
    return Job(f"{batch.job}_0", array_name("pooling", batch), state, "None", "n1")


def batches_told(store: Store, capsys: pytest.CaptureFixture[str]) -> set[str]:
    assert gc(store, "--json") == 0
    items = json.loads(capsys.readouterr().out)["items"]
    return {Path(item["path"]).name for item in items if item["kind"] == "batches"}


def test_job_arrays_go_when_nobody_needs_them(
    swept: tuple[Plan, Store], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store = swept
    done, *_ = plan.stages.values()
    begun, unnamed = leave_things(plan, store)
    finished, alive, open_ = given(store, "7", done), given(store, "8", done), given(store, "9", begun)
    batches = Batches(store.root)
    batches.add({0: done}, {})  # its driver may not have heard yet that it was taken
    # Without Slurm: whose stages are done, whatever their jobs. What the others name is kept.
    assert batches_told(store, capsys) == {finished.key, alive.key}
    assert gc(store) == 0
    assert "orphans" not in capsys.readouterr().out
    # With Slurm: those without a living job, the others' stages being done, or named by no sweep.
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\n")
    squeue.chmod(0o755)
    asked: list[object] = []
    jobs = [job(finished, "COMPLETED"), job(alive, "RUNNING")]
    monkeypatch.setattr(slurm_queue, "_jobs", lambda users: asked.append(users) or jobs)
    assert batches_told(store, capsys) == {finished.key, open_.key}
    assert len(asked) == 1
    jobs.append(job(open_, "PENDING"))
    assert batches_told(store, capsys) == {finished.key}
    # What a living job is about to read is no more garbage than what it is about.
    reader = Stage("evaluate", 1, {"seed": 9}, {"model": unnamed.id}, slug="reader")
    assert gc(store, "--json") == 0
    assert unnamed.id in capsys.readouterr().out
    jobs.append(job(given(store, "10", reader), "PENDING"))
    assert gc(store, "--json") == 0
    assert unnamed.id not in capsys.readouterr().out

    def silent(users: object) -> list[Job]:
        raise QueueUnreachable("squeue", "Socket timed out")

    monkeypatch.setattr(slurm_queue, "_jobs", silent)
    assert batches_told(store, capsys) == set()


def test_what_is_taken_into_use_after_it_was_found_stays(
    swept: tuple[Plan, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the list and the removal workers elsewhere are waited for, and others go on submitting."""
    plan, store = swept
    begun, _ = leave_things(plan, store)
    monkeypatch.setattr(slurm_queue, "_jobs", lambda users: [])
    batches = Batches(store.root)
    root = take(batches.run_file("").parent)
    os.utime(root, (0, 0))
    (squeue := Path(os.environ["PATH"]) / "squeue").write_text("#!/bin/sh\n")
    squeue.chmod(0o755)
    batch = given(store, "7", begun)
    find = collecting.find

    def slow(*arguments: object) -> object:
        found = find(*arguments)  # type: ignore[arg-type]
        assert {root, batch.folder} <= {item.path for item in found.items}
        assert take(batches.run_file("").parent) == root
        given(store, "8", begun)
        monkeypatch.setattr(slurm_queue, "_jobs", lambda users: [job(batch, "PENDING")])  # requeued
        return found

    monkeypatch.setattr(collecting, "find", slow)
    assert gc(store, "--delete") == 0
    assert (root / "harness").is_dir()
    assert (batch.folder / "stages.jsonl").exists()


def test_job_arrays_that_go_have_been_submitted_all_the_same(swept: tuple[Plan, Store]) -> None:
    plan, store = swept
    done, *_ = plan.stages.values()
    given(store, "7", done)
    given(store, "8", done)
    book = Ledger(store, [done], {}, Budget(jobs=3))
    assert book.jobs_left() == 1
    assert gc(store, "--delete") == 0
    assert list(Batches(store.root)) == []
    assert book.jobs_left() == 1


def test_code_that_no_job_runs_goes_after_a_day(
    swept: tuple[Plan, Store], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store = swept
    begun, _ = leave_things(plan, store)
    batches = Batches(store.root)
    folder = batches.run_file("").parent / "code"
    names = ("run", "queued", "unused", "young")
    for name in names:
        (folder / name / "harness").mkdir(parents=True)
        if name != "young":
            os.utime(folder / name, (0, 0))
    WantedRun("pooling", [begun], [Resources()], 1, code=folder / "run").save(store)
    batches.accepted(batches.add({0: begun}, {"code": str(folder / "queued")}), "7")
    monkeypatch.setattr(slurm_queue, "_jobs", lambda users: [])

    def told() -> set[str]:
        assert gc(store, "--json") == 0
        items = json.loads(capsys.readouterr().out)["items"]
        return {Path(item["path"]).name for item in items if item["kind"] == "code"}

    assert told() == {"unused"}, "without Slurm a batch whose stage is not done is kept"
    assert gc(store, "--delete") == 0
    assert {path.name for path in folder.iterdir()} == set(names) - {"unused"}
