"""Features of a frozen encoder on disk: computed once for a whole sweep, read through a memory map."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from harness.errors import HarnessError

ARRAY = "features.npy"
INDEX = "images.json"


@dataclass(frozen=True)
class FeatureTable:
    """Features float16 [N, P, D] of N images, patches row by row on a ``grid`` (h, w), found by image key."""

    array: np.ndarray
    keys: tuple[str, ...]
    grid: tuple[int, int]

    @classmethod
    def open(cls, directory: Path) -> FeatureTable:
        """Map a finished table. Raises HarnessError when its files do not belong together."""
        index = json.loads((directory / INDEX).read_text(encoding="utf-8"))
        array = np.load(directory / ARRAY, mmap_mode="r", allow_pickle=False)
        grid = (int(index["grid"][0]), int(index["grid"][1]))
        if array.ndim != 3 or array.shape[0] != len(index["images"]) or array.shape[1] != grid[0] * grid[1]:
            raise HarnessError(
                f"{directory / ARRAY} holds {array.shape}, its index lists {len(index['images'])} images "
                f"of {grid[0]} × {grid[1]} patches",
                remedy="remove the folder of this stage and run again",
            )
        return cls(array, tuple(index["images"]), grid)

    @cached_property
    def _row(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.keys)}

    def rows(self, images: Sequence[str]) -> np.ndarray:
        """Features float32 [len(images), P, D] in the order asked for."""
        try:
            numbers = [self._row[key] for key in images]
        except KeyError as error:
            raise HarnessError(
                f"the features hold no image {error.args[0]!r}", remedy="the data changed under the sweep; run again"
            ) from None
        return np.asarray(self.array[numbers], dtype=np.float32)


def write_index(directory: Path, keys: Sequence[str], grid: tuple[int, int]) -> None:
    """Write the index of a table whose array is complete."""
    text = json.dumps({"grid": list(grid), "images": list(keys)})
    (directory / INDEX).write_text(text, encoding="utf-8")
