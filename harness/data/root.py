"""From the ``data`` section of a config to a digest (for plans) and a folder (for those who read it)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.data import microworld
from harness.data.dataset import Dataset
from harness.data.manifest import Manifest, load_or_build

MICROWORLD = "microworld"
Progress = Callable[[int, int], None]


def data_digest(config: Any, cache_root: Path, progress: Progress | None = None) -> str:
    """What identifies the data of a config (``root`` and ``microworld``): its world's digest, or that of the folder's
    manifest.

    Never writes a world. The first time for a folder of the user's the manifest is built, which reads every file once
    and calls ``progress`` with bytes done and bytes in all.
    """
    if config.root == MICROWORLD:
        return microworld.digest(config.microworld)
    return load_or_build(Path(config.root), cache_root, progress).digest


def open_data(config: Any, cache_root: Path, progress: Progress | None = None, processes: int = 1) -> Dataset:
    """The data of a config; a microworld that is not in the cache yet is written first."""
    if config.root == MICROWORLD:
        return Dataset.open(microworld.ensure(config.microworld, cache_root, progress, processes))
    root = Path(config.root)
    return Dataset.open(root, Manifest.load(root, cache_root))
