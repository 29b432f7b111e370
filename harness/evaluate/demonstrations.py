"""Solved examples before a query, as a pure function of task, support pool, sample id, shots, seed and strategy.

Elsewhere demonstrations come from one sequential random state, so that they change with the number of ranks, a limit or
a restart (lm-eval #1719). Here nothing but the sample's own id chooses them. The strategy ``fixed_sets`` draws K sets
by hash and gives every query one of them, so that the prefix of a set is read once for all its queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from harness.errors import HarnessError
from harness.evaluate.hashing import choice, sha256
from harness.evaluate.tasks import Pool, Sample

Strategy = Literal["fixed_sets"]

ContentDigest = Callable[[str], str]
"""Image key → digest of what the image shows."""


@dataclass(frozen=True)
class DemonstrationSet:
    """A numbered set; its samples stand in the prompt in this order and show different images."""

    number: int
    samples: tuple[Sample, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The samples' ids."""
        return tuple(sample.id for sample in self.samples)


@dataclass(frozen=True)
class Demonstrator:
    """Gives every query its demonstrations.

    ``content`` tells pictures apart that are stored twice. Of a set with more shots, one with fewer is the beginning;
    set k does not depend on how many sets there are.
    """

    support: Pool
    shots: int
    sets: int
    seed: int
    content: ContentDigest
    strategy: Strategy = "fixed_sets"

    def __post_init__(self) -> None:
        if self.strategy != "fixed_sets":
            raise HarnessError(f"unknown demonstration strategy {self.strategy!r}", remedy="use fixed_sets")
        if self.shots < 0 or self.sets < 1:
            raise ValueError(f"{self.shots} shots from {self.sets} sets")

    def of(self, sample_id: str) -> DemonstrationSet:
        """The demonstrations of a query."""
        return self.all_sets[choice(self.sets, "query", self.support.task, self.seed, sample_id)]

    @cached_property
    def all_sets(self) -> tuple[DemonstrationSet, ...]:
        """The sets by number."""
        if self.shots == 0:
            return tuple(DemonstrationSet(number, ()) for number in range(self.sets))
        return tuple(DemonstrationSet(number, self._draw(number)) for number in range(self.sets))

    def _draw(self, number: int) -> tuple[Sample, ...]:
        names = ("demonstration", self.support.task, self.support.digest, self.seed, number)
        chosen: list[Sample] = []
        shown: set[str] = set()
        for sample in sorted(self.support.samples, key=lambda sample: (sha256(*names, sample.id), sample.id)):
            pictures = {f"id {sample.image_id}", f"key {sample.image}"}
            if shown & pictures:
                continue
            pictures.add(f"content {self.content(sample.image)}")
            if shown & pictures:
                continue
            chosen.append(sample)
            shown |= pictures
            if len(chosen) == self.shots:
                return tuple(chosen)
        raise HarnessError(
            f"the support pool of {self.support.task} shows only {len(chosen)} different images, {self.shots} shots "
            "were asked for",
            remedy="lower evaluation.shots or enlarge the support pool",
        )


def refuse_leaks(queries: Iterable[Sample], demonstrator: Demonstrator, content: ContentDigest) -> None:
    """Raise HarnessError when a picture of the queries is also in the support pool.

    By image id and key the whole pool is compared, by content the pictures that demonstrations show.
    """
    support = demonstrator.support
    ids: Mapping[str, Sample] = {sample.image_id: sample for sample in support.samples}
    keys: Mapping[str, Sample] = {sample.image: sample for sample in support.samples}
    shown = {content(sample.image): sample for group in demonstrator.all_sets for sample in group.samples}
    for query in queries:
        for how, found in (
            ("image id", ids.get(query.image_id)),
            ("file", keys.get(query.image)),
            ("content", shown.get(content(query.image))),
        ):
            if found is not None:
                raise HarnessError(
                    f"{support.task}: query {query.id} and support sample {found.id} show the same image "
                    f"(by {how}: {query.image}, {found.image})",
                    remedy="take the image out of the support pool: it shows what is asked for later",
                )
