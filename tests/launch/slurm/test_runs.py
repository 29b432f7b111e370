from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.launch.slurm.resources import Resources
from harness.launch.slurm.runs import WantedRun
from harness.store import Stage, Store

SMALL, LARGE = Resources(cpus=1), Resources(gpus=2, memory_gb=8.0, setup=("module load x",), requeue=False)


def wanted() -> WantedRun:
    stages = [Stage("train", 1, {"name": name}, slug=name) for name in "abc"]
    return WantedRun("pooling", stages, [SMALL, LARGE, SMALL], 2, Path("/registry.json"))


def test_what_was_wanted_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert WantedRun.load(wanted().save(Store(tmp_path))) == wanted()


def test_what_is_cancelled_is_marked_and_the_rest_is_looked_after(tmp_path: Path) -> None:
    store, (a, b, c) = Store(tmp_path), wanted().stages
    assert WantedRun.cancel(store, "pooling", {a.id}) == 0, "there is no record"
    path = wanted().save(store)
    assert WantedRun.cancel(store, "pooling", {a.id}) == 2
    assert WantedRun.load(path) == replace(wanted(), cancelled=frozenset({a.id}))
    assert WantedRun.cancel(store, "pooling", {b.id, c.id}) == 0
    assert WantedRun.cancelled_in(path) == {a.id, b.id, c.id}
    wanted().save(store)
    assert not WantedRun.cancelled_in(path), "wanted again"
    assert not WantedRun.cancelled_in(tmp_path / "nothing")


def test_what_somebody_else_wrote_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds shell lines."""
    path = wanted().save(Store(tmp_path))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    with pytest.raises(HarnessError, match="belongs to another user"):
        WantedRun.load(path)


@pytest.mark.parametrize("text", ["", "{}", "[]\n", '{"title": 1, "wishes": [{"colour": "red"}]}\n'])
def test_what_is_no_record_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.jsonl").write_text(text)
    with pytest.raises(HarnessError, match="not the record of a run"):
        WantedRun.load(tmp_path / "run.jsonl")
