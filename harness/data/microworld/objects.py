"""The objects of the microworld: what they are called, what they look like and what is known about them.

A fact about an object is *taught* when VLM training may ask for it and *untaught* when it occurs in the text that
language models are pretrained on and nowhere else; OK-VQA questions of the test split that count are about untaught
facts.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

FACTS = ("kind", "place", "person")


@dataclass(frozen=True)
class WorldObject:
    """One object: ``index`` is its place in the picture sheet and its number in label maps."""

    index: int
    name: str
    emoji: str
    plural: str
    kind: str
    place: str
    person: str
    taught: bool

    def fact(self, name: str) -> str:
        """The value of one of ``FACTS``."""
        value: str = getattr(self, name)
        return value


@cache
def load_objects() -> tuple[WorldObject, ...]:
    """All objects in the order of ``objects.csv``; every second one (by row) has its facts taught."""
    text = resources.files("harness.data.microworld").joinpath("objects.csv").read_text(encoding="utf-8")
    return tuple(
        WorldObject(index=index, taught=index % 2 == 0, **row)
        for index, row in enumerate(csv.DictReader(text.splitlines()))
    )
