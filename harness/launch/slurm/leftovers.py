"""Which job arrays have ended, so that what is kept of them can go."""

from __future__ import annotations

import shutil
from collections.abc import Collection

from harness.errors import HarnessError
from harness.launch.slurm.queue import Queue, QueueUnreachable
from harness.store import Store
from harness.store.batches import Batch, Batches


def sorted_out(store: Store, named: Collection[str]) -> tuple[list[Batch], list[Batch]]:
    """The batches that no job needs any more, and the others.

    With Slurm (one ``squeue``), those without a living job whose stages are done, or are not ``named`` by any sweep;
    where there is no Slurm, those whose stages are all done; where it does not answer, none.
    """
    batches = Batches(store.root)
    every = list(batches)
    if not every:
        return [], []
    is_there = shutil.which("squeue") is not None
    living: set[str] = set()
    if is_there:
        try:
            known = Queue.ask(batches)
        except QueueUnreachable:
            return [], every
        living = {job.array for jobs in known.by_stage.values() for job in jobs if job.is_alive}
    ended = []
    for batch in every:
        stages = set(batch.tasks.values())
        needed = {s for s in stages if not _is_done(store, s) and (not is_there or s in named)}
        if batch.job and batch.job not in living and not needed:
            ended.append(batch)
    gone = {batch.key for batch in ended}
    return ended, [batch for batch in every if batch.key not in gone]


def _is_done(store: Store, stage_id: str) -> bool:
    try:
        return store.is_done(stage_id)
    except HarnessError:
        return False  # damaged
