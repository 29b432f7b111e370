from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from harness.store import Store, Terms

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # toys and their graphs are shared with tests/slurm

from toy_graphs import Toys  # noqa: E402


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toys:
    inherited = [part for part in [os.environ.get("PYTHONPATH", "")] if part]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *inherited]))
    return Toys(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", Terms(poll=0.1))
