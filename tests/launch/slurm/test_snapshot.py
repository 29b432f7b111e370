"""The code that jobs run, copied when they are submitted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.launch.pool import python_path
from harness.launch.slurm import snapshot
from harness.launch.slurm.snapshot import take


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package in the place of ours."""
    folder = tmp_path / "source" / "harness"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "__init__.py").write_text("VALUE = 1\n")
    (folder / "__pycache__" / "old.pyc").write_bytes(b"x")
    monkeypatch.setattr(harness, "__file__", str(folder / "__init__.py"))
    return folder


def test_later_edits_do_not_reach_it(package: Path, tmp_path: Path) -> None:
    root = take(tmp_path / "runs")
    (package / "__init__.py").write_text("VALUE = 2\n")
    code = "import harness; print(harness.VALUE)"
    environment = {"PYTHONPATH": python_path(root)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
    assert not list(root.rglob("old.pyc"))


def test_the_same_code_is_kept_once_and_other_code_beside_it(package: Path, tmp_path: Path) -> None:
    first = take(tmp_path / "runs")
    assert take(tmp_path / "runs") == first
    (package / "more.py").write_text("")
    second = take(tmp_path / "runs")
    assert second != first
    assert {path.name for path in (tmp_path / "runs" / snapshot.FOLDER).iterdir()} == {first.name, second.name}
    assert (tmp_path / "runs").stat().st_mode & 0o777 == 0o700


def test_one_that_is_removed_this_moment_is_made_anew(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = take(tmp_path / "runs")

    def removed(path: Path) -> None:
        monkeypatch.undo()
        monkeypatch.setattr(harness, "__file__", str(package / "__init__.py"))
        root.rename(tmp_path / "trash")
        os.utime(path)

    monkeypatch.setattr(snapshot.os, "utime", removed)
    assert take(tmp_path / "runs") == root
    assert (root / "harness" / "__init__.py").exists()


def test_a_job_that_runs_a_snapshot_hands_it_on(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = take(tmp_path / "runs")
    monkeypatch.setattr(harness, "__file__", str(root / "harness" / "__init__.py"))
    assert take(tmp_path / "runs") == root


def test_the_whole_package_is_there(tmp_path: Path) -> None:
    root = take(tmp_path)
    source = Path(harness.__file__).parent
    names = {path.relative_to(source) for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {path.relative_to(root / "harness") for path in root.rglob("*") if path.is_file()} == names
