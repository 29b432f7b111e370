from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.data.dataset import Dataset
from harness.data.microworld import WorldConfig, write_out

TINY = WorldConfig(seed=5, train_scenes=40, support_scenes=14, validation_scenes=8, test_scenes=24)


@pytest.fixture(scope="session")
def tiny_config() -> WorldConfig:
    return TINY


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny microworld; tests must not change it (see ``copy``)."""
    return write_out(TINY, tmp_path_factory.mktemp("microworld") / "world")


@pytest.fixture(scope="session")
def dataset(world: Path) -> Dataset:
    return Dataset.open(world)


@pytest.fixture
def copy(world: Path, tmp_path: Path) -> Path:
    """A copy of the tiny world without its manifest, to be damaged."""
    root = tmp_path / "data"
    shutil.copytree(world, root)
    (root / "MANIFEST.json").unlink()
    (root / "world.json").unlink()
    return root


@pytest.fixture
def edit() -> Callable[[Path, Callable[[Any], None]], None]:
    """Changes a JSON file in place."""

    def change(path: Path, how: Callable[[Any], None]) -> None:
        content = json.loads(path.read_text())
        how(content)
        path.write_text(json.dumps(content))

    return change
