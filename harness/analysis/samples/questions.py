"""What an evaluation asked: which samples, about which images, after which demonstrations.

Scores may be compared sample by sample only when this is equal; and it says which samples are not independent: those
that share an image, and those that share a set of demonstrations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Questions:
    """The samples of one evaluation, sorted by id; ``sets`` are numbers of demonstration sets.

    Equal when everything in it is equal.
    """

    task: str
    ids: tuple[str, ...]
    images: tuple[str, ...]
    sets: tuple[int, ...]
    prompts: tuple[str, ...]
    subsets: tuple[str, ...]

    @cached_property
    def digest(self) -> str:
        """Stands for all of it."""
        columns = (self.ids, self.images, map(str, self.sets), self.prompts, self.subsets)
        hashed = hashlib.sha256(self.task.encode())
        for column in columns:
            for text in column:
                raw = text.encode()
                hashed.update(len(raw).to_bytes(4, "big") + raw)
            hashed.update(b"\xff")
        return hashed.hexdigest()[:32]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Questions) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __len__(self) -> int:
        return len(self.ids)

    def where(self, subset: str) -> NDArray[np.bool_]:
        """Which samples belong to a subset."""
        if subset not in self._masks:
            self._masks[subset] = np.array([name == subset for name in self.subsets], dtype=bool)
        return self._masks[subset]

    def only(self, subset: str) -> Questions:
        """The questions of one subset; the same object each time, so that comparing costs nothing."""
        if subset not in self._parts:
            self._parts[subset] = self._only(subset)
        return self._parts[subset]

    @cached_property
    def subset_names(self) -> tuple[str, ...]:
        """Names of the parts that are reported apart; what belongs to none has the empty name."""
        return tuple(sorted(set(self.subsets) - {""}))

    @cached_property
    def _masks(self) -> dict[str, NDArray[np.bool_]]:
        return {}

    @cached_property
    def _parts(self) -> dict[str, Questions]:
        return {}

    def _only(self, subset: str) -> Questions:
        kept = np.flatnonzero(self.where(subset)).tolist()

        def pick(column: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(column[index] for index in kept)

        return Questions(
            self.task, pick(self.ids), pick(self.images), pick(self.sets), pick(self.prompts), pick(self.subsets)
        )


@dataclass(frozen=True, eq=False)
class Clusters:
    """For samples in order: the number of the image, of the demonstration set, and of the pair of both."""

    images: Codes
    sets: Codes
    pairs: Codes

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many there are of each."""
        return tuple(int(codes.max()) + 1 if len(codes) else 0 for codes in (self.images, self.sets, self.pairs))  # type: ignore[return-value]


@lru_cache(maxsize=256)
def clusters(questions: tuple[Questions, ...]) -> Clusters:
    """The clusters of the samples of several benchmarks, one after the other.

    An image is one wherever it is asked about; demonstration sets belong to their benchmark.
    """
    images = _numbered([image for asked in questions for image in asked.images])
    sets = _numbered([f"{asked.task}/{number}" for asked in questions for number in asked.sets])
    return Clusters(images, sets, _numbered(images * (int(sets.max(initial=0)) + 1) + sets))


def _numbered(names: Any) -> Codes:
    return np.unique(np.asarray(names), return_inverse=True)[1].astype(np.int64)
