from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.launch.slurm import endings, submission
from harness.launch.slurm.settings import settings
from harness.store.batches import Batches
from tests.launch.slurm.fake_slurm import FakeSlurm

Fake = Callable[[str, str], Path]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a shell script in the place of one of Slurm's commands; it notes its arguments and environment."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/bin{os.pathsep}/usr/bin")

    def make(command: str, body: str) -> Path:
        path = folder / command
        path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nenv > {tmp_path}/environment\n{body}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return tmp_path / "calls"

    return make


@pytest.fixture
def batches(tmp_path: Path) -> Batches:
    return Batches(tmp_path / "store")


@pytest.fixture(autouse=True)
def forget() -> None:
    """What one process remembers of its cluster."""
    settings.cache_clear()
    endings._Silence.until = 0.0


@pytest.fixture
def fake_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """A Slurm that starts nothing; nobody waits long for it."""
    (tmp_path / "slurm").mkdir()
    slurm = FakeSlurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", slurm.path)
    monkeypatch.setattr(submission, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(submission, "SECOND_LOOK_SECONDS", 0.0)
    return slurm
