from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from harness.analysis import SavedSweep, make_table
from harness.analysis.document import to_json
from harness.analysis.samples.scores import ScoreFiles
from harness.analysis.stored import score_cache
from harness.analysis.stored.reader import ScoreReader
from harness.analysis.stored.segments import SUFFIX, DamagedSegment, Segment
from harness.plan import Plan
from harness.store import DamagedStage, Store
from tests.synthetic import finish, finish_run, parquet_bytes, record, rows, train_summary

NEVER = 10**9


def text(plan: Plan, store: Store, keep_from: int = 0) -> str:
    """The table of a new process, as it is printed."""
    fresh = Store(store.root)
    return json.dumps(to_json(make_table(SavedSweep.of(record(plan)), fresh, ScoreReader(fresh, keep_from))))


def segments(store: Store) -> list[Path]:
    return sorted((store.root / score_cache.FOLDER).glob(f"*{SUFFIX}"))


@pytest.fixture
def without_files() -> Any:
    """No score file may be read."""
    return mock.patch.object(ScoreFiles, "read", side_effect=AssertionError("a score file was read"))


@pytest.fixture(params=["seeds=[0]", "seeds=[0,1]"])
def plan(request: pytest.FixtureRequest, plan_of: Callable[..., Plan]) -> Plan:
    """One seed needs every score, several need means alone."""
    return plan_of(request.param)


def fill(store: Store, plan: Plan, runs: slice = slice(None), **options: Any) -> None:
    for run in plan.runs[runs]:
        finish_run(store, plan, run, **options)


def test_cold_and_warm_are_the_same_to_the_byte(store: Store, plan: Plan, without_files: Any) -> None:
    fill(store, plan)
    plain = text(plan, store, NEVER)
    assert not segments(store)
    assert text(plan, store) == plain
    assert segments(store)
    with without_files:
        assert text(plan, store) == plain


def test_what_is_added_is_read_and_nothing_else(store: Store, plan: Plan) -> None:
    fill(store, plan, slice(0, -1))
    before = text(plan, store)
    fill(store, plan, slice(-1, None))
    with mock.patch.object(ScoreFiles, "read", autospec=True, side_effect=ScoreFiles.read) as read:
        after = text(plan, store)
    assert read.call_count == 4
    assert after == text(plan, store, NEVER) != before


def test_a_reader_that_is_kept_follows_the_store(store: Store, plan: Plan) -> None:
    sweep, reader = SavedSweep.of(record(plan)), ScoreReader(store)
    fill(store, plan, slice(0, 1))
    make_table(sweep, store, reader)
    fill(store, plan, slice(1, None))
    assert json.dumps(to_json(make_table(sweep, store, reader))) == text(plan, store, NEVER)
    stage = plan.stages[plan.runs[1].evaluate["coco"]]
    store.set_aside(stage, "to see whether it is missed")
    assert json.dumps(to_json(make_table(sweep, store, reader))) == text(plan, store, NEVER)


@pytest.mark.parametrize("kind", ["evaluate", "train"])
def test_a_deleted_stage_is_missed(store: Store, plan: Plan, kind: str) -> None:
    fill(store, plan)
    before = text(plan, store)
    run = plan.runs[1]
    gone = plan.stages[run.evaluate["coco"] if kind == "evaluate" else run.train[-1]]
    shutil.rmtree(store.path(gone))
    assert text(plan, store) == text(plan, store, NEVER)
    # Without its training a run has no costs, which may be those of the other seeds to the digit.
    assert text(plan, store) != before or kind == "train"
    fresh = ScoreReader(Store(store.root), 0)
    assert gone.id not in fresh.update(SavedSweep.of(record(plan)).stages, [])


def test_a_stage_that_was_made_again_is_read_again(store: Store, plan: Plan) -> None:
    fill(store, plan)
    before = text(plan, store)
    run = plan.runs[1]
    stage = plan.stages[run.evaluate["okvqa"]]
    store.set_aside(stage, "to be made again")
    other = rows(run.variant.name, "okvqa", run.seed, lambda *_: 7.0)
    finish(store, stage, {"scores.parquet": parquet_bytes(other)})
    assert text(plan, store) == text(plan, store, NEVER) != before


def test_scores_that_went_or_were_cut_are_missed(store: Store, plan: Plan) -> None:
    fill(store, plan)
    text(plan, store)
    path = store.path(plan.stages[plan.runs[1].evaluate["coco"]]) / "scores.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(DamagedStage, match=r"scores\.parquet"):
        text(plan, store)
    path.unlink()
    with pytest.raises(DamagedStage, match="missing"):
        text(plan, store)


def test_a_stage_of_another_config_is_an_error(store: Store, plan: Plan) -> None:
    fill(store, plan)
    text(plan, store)
    run = plan.runs[0]
    value = record(plan)
    entry = next(entry for entry in value["stages"] if entry["id"] == run.evaluate["coco"])
    entry["digest"] = entry["id"] + "0" * 48
    with pytest.raises(Exception, match="damaged"):
        make_table(SavedSweep.of(value), Store(store.root), ScoreReader(Store(store.root), NEVER))


def test_a_training_that_was_made_again_is_read_again(store: Store, plan: Plan) -> None:
    fill(store, plan)
    before = text(plan, store)
    stage = plan.stages[plan.runs[0].train[-1]]
    store.set_aside(stage, "to be made again")
    finish(store, stage, {"out.bin": b"x"}, train_summary(parameters=77))
    assert text(plan, store) == text(plan, store, NEVER) != before


@pytest.mark.parametrize("where", ["empty", "start", "header", "points", "end", "text"])
def test_a_damaged_cache_is_made_again(store: Store, plan: Plan, where: str, without_files: Any) -> None:
    fill(store, plan)
    plain = text(plan, store)
    (path,) = segments(store)
    content = bytearray(path.read_bytes())
    if where == "end":
        del content[-9:]
    elif where == "empty":
        content.clear()
    elif where == "text":
        content = bytearray(b"nothing of the kind" * 10)
    else:
        length = int.from_bytes(content[8:16], "little")
        mean = content.index(b'{"":') + 4  # a digit of a mean: still JSON, still a number
        content[{"start": 9, "header": mean, "points": 48 + length + 3}[where]] ^= 1
    path.write_bytes(content)
    assert text(plan, store) == plain
    assert text(plan, store) == plain  # a wrong point is noticed where points are needed, and its segment goes
    if where != "points" or len(plan.sweep.seeds) == 1:
        (path,) = segments(store)
        assert path.read_bytes() != bytes(content)
    with without_files:
        assert text(plan, store) == plain


def test_a_cache_of_other_code_does_not_count(
    store: Store, plan: Plan, monkeypatch: pytest.MonkeyPatch, without_files: Any
) -> None:
    fill(store, plan)
    with monkeypatch.context() as patch:
        patch.setattr(score_cache, "_code", lambda: "other")
        text(plan, store)
    with without_files, pytest.raises(AssertionError):
        text(plan, store)
    assert text(plan, store) == text(plan, store, NEVER)
    assert len(segments(store)) == 1


def test_a_place_that_cannot_be_written_costs_time_only(store: Store, plan: Plan) -> None:
    fill(store, plan)
    (store.root / "cache").write_text("a file")
    assert text(plan, store) == text(plan, store, NEVER)


def test_small_segments_become_one(store: Store, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_cache, "MOST_SEGMENTS", 2)
    for run in plan.runs:
        finish_run(store, plan, run)
        text(plan, store)
        assert len(segments(store)) <= 2
    with mock.patch.object(ScoreFiles, "read", side_effect=AssertionError):
        warm = text(plan, store)
    assert warm == text(plan, store, NEVER)


def test_readers_and_writers_at_once(store: Store, plan: Plan) -> None:
    fill(store, plan)
    plain = text(plan, store, NEVER)

    def again(number: int) -> str:
        if number % 3 == 0:
            shutil.rmtree(store.root / "cache", ignore_errors=True)
        return text(plan, store)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(again, range(12))) == {plain}
    for path in segments(store):
        Segment(path).close()


def test_a_segment_that_is_gone_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(DamagedSegment):
        Segment(tmp_path / "none")


def filled(plan: Plan, store: Store) -> str:
    """The table of a new process that lets others read all stages for it."""
    fresh = Store(store.root)
    reader = ScoreReader(fresh, keep_from=0, fill_from=1)
    return json.dumps(to_json(make_table(SavedSweep.of(record(plan)), fresh, reader)))


def test_other_processes_read_the_same(store: Store, plan: Plan, without_files: Any) -> None:
    fill(store, plan)
    plain = text(plan, store, NEVER)
    with without_files:  # those are other processes
        assert filled(plan, store) == plain
    assert segments(store)
    with without_files:
        assert text(plan, store) == plain


def test_what_other_processes_cannot_read_is_an_error_here(store: Store, plan: Plan) -> None:
    fill(store, plan)
    path = store.outputs(plan.runs[0].evaluate["coco"]).path("scores.parquet")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    with pytest.raises(DamagedStage, match=r"scores\.parquet"):
        filled(plan, store)
    path.write_bytes(whole)
    assert filled(plan, store) == text(plan, store, NEVER)


@pytest.mark.parametrize("error", [OSError("no process to be had"), None])
def test_without_other_processes_this_one_reads(store: Store, plan: Plan, error: OSError | None) -> None:
    fill(store, plan)
    if error is None:  # they die at once
        with mock.patch("harness.analysis.stored.filling.sys.executable", "/bin/false"):
            found = filled(plan, store)
    else:
        with mock.patch("subprocess.Popen", side_effect=error):
            found = filled(plan, store)
    assert found == text(plan, store, NEVER)
