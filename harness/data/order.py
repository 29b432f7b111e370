"""Which document is trained on when: a function of the training seed, never of the variant or the number of ranks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DocumentRef:
    """Document ``index`` of a ``source`` (``pairs`` or ``interleaved``), in pass number ``epoch`` over it."""

    source: str
    index: int
    epoch: int


def _random(*names: object) -> np.random.Generator:
    digest = hashlib.sha256(" ".join(str(name) for name in names).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def _passes(seed: int, phase: str, source: str, count: int) -> Iterator[DocumentRef]:
    epoch = 0
    while True:
        for index in _random("order", seed, phase, source, epoch).permutation(count):
            yield DocumentRef(source, int(index), epoch)
        epoch += 1


def document_order(
    seed: int, phase: str, mixture: Mapping[str, float], counts: Mapping[str, int], batch_size: int, steps: int
) -> list[list[DocumentRef]]:
    """The documents of each step of a phase.

    Every source is gone through in a fresh random order in each pass. Each place of a batch draws its source with the
    probabilities of ``mixture``. Raises ``ValueError`` for a share of a source that has no documents.
    """
    sources = sorted(name for name, share in mixture.items() if share > 0)
    for name in sources:
        if counts.get(name, 0) == 0:
            raise ValueError(f"the mixture asks for {mixture[name]:.0%} {name} documents and there are none")
    shares = np.array([mixture[name] for name in sources], dtype=np.float64)
    edges = np.cumsum(shares / shares.sum())
    draws = _random("mixture", seed, phase).random((steps, batch_size))
    passes = {name: _passes(seed, phase, name, counts[name]) for name in sources}
    choices = np.minimum(np.searchsorted(edges, draws, side="right"), len(sources) - 1)
    return [[next(passes[sources[choice]]) for choice in row] for row in choices]


def shard(batch: Sequence[DocumentRef], rank: int, world_size: int) -> list[DocumentRef]:
    """The part of a batch that a rank works on: every ``world_size``-th document."""
    return list(batch[rank::world_size])


def order_digest(order: Sequence[Sequence[DocumentRef]]) -> str:
    """SHA-256 of an order: equal for two runs exactly when they see the same documents at the same steps."""
    return hashlib.sha256("\n".join(repr(step) for step in order).encode()).hexdigest()
