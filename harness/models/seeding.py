"""Random initialisation that depends on the seed and on a parameter's name, and on nothing else.

Two variants that share a parameter start it alike, whatever else they contain and in whatever order it was built;
another seed changes every fresh parameter. (A projector seeded by its encoder's width made seed sweeps meaningless in
a public code base.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def name_seed(seed: int, name: str) -> int:
    """A 63-bit seed for ``name`` under the training seed ``seed``."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, name: str) -> torch.Generator:
    """A CPU generator for the parameter called ``name``."""
    return torch.Generator().manual_seed(name_seed(seed, name))


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Torch's global generator seeded for ``name`` inside the block and restored after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(name_seed(seed, name))
        yield
