"""Copies of data and weights on a node's own disk."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from harness.data.dataset import Dataset
from harness.data.manifest import Manifest, _places
from harness.launch.slurm.staging import stage_in
from harness.store import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A training on a data folder whose manifest lies elsewhere, because nobody may write there."""
    for name in ("photos", "vision"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.bin").write_bytes(name.encode() * 100)
    manifest = Manifest.build(tmp_path / "photos")
    elsewhere = _places(tmp_path / "photos", tmp_path / "cache")[1]
    elsewhere.parent.mkdir(parents=True)
    shutil.move(manifest.store(tmp_path / "photos"), elsewhere)
    location = {role: str(tmp_path / name) for role, name in (("data", "photos"), ("vision", "vision"))}
    location |= {"manifests": str(tmp_path / "cache"), "runtime": "{}"}
    return Stage("train", 1, {}, {}, {"data": manifest.digest[:32], "vision": "abc"}, "a", location)


def test_copies_are_read_and_made_once(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    near = stage_in(stage, str(tmp_path / "scratch"))
    assert near.id == stage.id
    for role in ("data", "vision"):
        copy = Path(near.location[role])
        assert copy.is_relative_to(tmp_path / "scratch")
        assert (copy / "file.bin").read_bytes() == (Path(stage.location[role]) / "file.bin").read_bytes()
    assert near.location["runtime"] == "{}"
    manifest = Dataset.open(Path(near.location["data"])).manifest
    assert manifest is not None
    assert manifest.digest.startswith(stage.digests["data"])
    monkeypatch.setattr(shutil, "copytree", None)
    assert stage_in(stage, str(tmp_path / "scratch")) == near
    assert stage_in(near, str(tmp_path / "scratch")) == near


def test_what_does_not_fit_is_read_where_it_lies(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10_000, 8_500, 1_500))
    near = stage_in(stage, str(tmp_path / "scratch"))
    assert near.location["data"] == stage.location["data"]


@pytest.mark.parametrize("scratch", ["/proc/nowhere", "/dev/null"])
def test_a_scratch_that_is_none_changes_nothing(stage: Stage, scratch: str) -> None:
    assert stage_in(stage, scratch) == stage


def test_a_half_made_copy_is_never_read(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(source: Path, target: Path) -> None:
        Path(target).mkdir()
        (Path(target) / "half").write_bytes(b"")
        raise OSError("the disk is gone")

    monkeypatch.setattr(shutil, "copytree", broken)
    assert stage_in(stage, str(tmp_path / "scratch")) == stage
    monkeypatch.undo()
    near = stage_in(stage, str(tmp_path / "scratch"))
    assert (Path(near.location["vision"]) / "file.bin").exists()
    assert not list((tmp_path / "scratch").rglob("half"))


def test_somebody_elses_folder_is_not_trusted(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch" / f"harness-{os.getuid()}").mkdir(parents=True)
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    os.rename(tmp_path / "scratch" / f"harness-{owner}", tmp_path / "scratch" / f"harness-{owner + 1}")
    assert stage_in(stage, str(tmp_path / "scratch")) == stage
