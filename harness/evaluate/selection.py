"""Which samples of a pool are evaluated: the first ones in an order by hash."""

from __future__ import annotations

from harness.evaluate.hashing import sha256
from harness.evaluate.tasks import Pool, Sample


def ranked(pool: Pool) -> tuple[Sample, ...]:
    """All samples, ordered by the hash of task and id: the same order whatever the pool's order, split or size."""
    return tuple(sorted(pool.samples, key=lambda sample: (sha256("sample", pool.task, sample.id), sample.id)))


def select(pool: Pool, samples: int) -> tuple[Sample, ...]:
    """The first ``samples`` of them (all when the pool is smaller); a smaller selection is part of a larger one."""
    return ranked(pool)[:samples]
