from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.models import VLM, load_vlm

from .tiny import model_section, write_language, write_vision


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Directories of a tiny SigLIP and a tiny Llama."""
    root = tmp_path_factory.mktemp("backbones")
    return write_vision(root / "vision"), write_language(root / "language")


@pytest.fixture
def vlm(backbones: tuple[Path, Path]) -> VLM:
    return load_vlm(model_section(), 0, *backbones)
