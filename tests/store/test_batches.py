from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.store import Stage
from harness.store.batches import RETIRED, Batches, task


def stage(name: str) -> Stage:
    return Stage("train", 1, {"name": name}, slug=name)


def test_jobs_of_a_stage_are_told_in_the_order_they_were_given(tmp_path: Path) -> None:
    batches = Batches(tmp_path)
    for job in ("9", "11", "100"):  # within a second: neither the key nor the order of letters may decide
        batches.accepted(batches.add({4: stage("a"), 7: stage(job)}, {}), job)
    found = Batches(tmp_path).jobs()
    assert [job for _, job in found[stage("a").id]] == ["9_4", "11_4", "100_4"]
    assert [job for _, job in found[stage("11").id]] == ["11_7"]


def test_what_the_scheduler_has_not_taken_is_no_job(tmp_path: Path) -> None:
    batches = Batches(tmp_path)
    batches.accepted(batches.add({0: stage("a")}, {}), "9")
    batch = batches.add({0: stage("a")}, {})
    assert [job for _, job in batches.jobs()[stage("a").id]] == ["9_0"]
    assert batches.given()[stage("a").id] == 1
    batches.accepted(batch, "10")
    assert batches.given()[stage("a").id] == 2


def test_the_jobs_of_a_removed_batch_still_count(tmp_path: Path) -> None:
    batches = Batches(tmp_path)
    for number in range(3):
        batch = batches.accepted(batches.add({0: stage("a"), 1: stage("b")}, {}), str(number + 1))
        batches.retire(batch.key)
        assert batches.given()[stage("a").id] == number + 1, "also between the note and the removal"
        with open(tmp_path / "batches" / RETIRED, "ab") as file:
            file.write(b'\n{"key": "half of a li')
        batches.discard(batch)
    assert Batches(tmp_path).given() == {stage("a").id: 3, stage("b").id: 3}
    assert list(Batches(tmp_path)) == []


def test_a_task_finds_its_stage_by_its_number(tmp_path: Path) -> None:
    batch = Batches(tmp_path).add({1: stage("one"), 10: stage("ten")}, {})
    assert task(batch.stages, 10) == stage("ten")
    assert task(batch.stages, 1) == stage("one")
    with pytest.raises(HarnessError, match="has no task 0"):
        task(batch.stages, 0)


def test_what_is_no_batch_is_passed_over(tmp_path: Path) -> None:
    batches = Batches(tmp_path)
    assert list(batches) == []
    kept = batches.add({0: stage("a")}, {})
    (tmp_path / "batches" / "notes").mkdir()
    (tmp_path / "batches" / "0123456789ab").mkdir()
    (tmp_path / "batches" / "0123456789ab" / "batch.json").write_text("{")
    assert [batch.key for batch in Batches(tmp_path)] == [kept.key]
    batches.discard(kept)
    assert list(Batches(tmp_path)) == []
