"""The names of the backbones that ship with the package, and what of them a spec can be checked against.

The zoo lies on a higher floor; its directories are held against this table by a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PREFIX = "zoo/"


@dataclass(frozen=True)
class ZooBackbone:
    """What a spec needs to know of a shipped backbone; ``patch`` is the side of a vision encoder's patch in pixels."""

    role: Literal["vision", "language"]
    patch: int = 0


ZOO: Mapping[str, ZooBackbone] = {
    "vision-base": ZooBackbone("vision", patch=8),
    "vision-weak": ZooBackbone("vision", patch=8),
    "language-base": ZooBackbone("language"),
    "language-weak": ZooBackbone("language"),
    "language-nofacts": ZooBackbone("language"),
    "language-nano": ZooBackbone("language"),
}


def known(backbone: str) -> ZooBackbone | None:
    """The zoo backbone called ``zoo/NAME``, ``None`` for anything else."""
    return ZOO.get(backbone.removeprefix(PREFIX)) if backbone.startswith(PREFIX) else None
