from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from harness.models import VLM

from .tiny import TinyDataset, build, write_language, write_vision


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("backbones")
    return write_vision(root / "vision"), write_language(root / "language")


@pytest.fixture(scope="session")
def built(backbones: tuple[Path, Path]) -> tuple[VLM, Any]:
    return build(*backbones)


@pytest.fixture
def vlm(built: tuple[VLM, Any]) -> VLM:
    return built[0]


@pytest.fixture
def processor(built: tuple[VLM, Any]) -> Any:
    return built[1]


@pytest.fixture
def dataset() -> TinyDataset:
    return TinyDataset()
