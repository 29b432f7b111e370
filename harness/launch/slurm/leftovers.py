"""Which job arrays have ended, so that what is kept of them can go."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable

from harness.errors import HarnessError
from harness.launch.slurm.queue import Queue, QueueUnreachable
from harness.store import Store
from harness.store.batches import Batch, Batches


def sorted_out(store: Store, named: Collection[str]) -> tuple[list[Batch], set[str]]:
    """The batches that no job needs any more, and the ids of the stages that the others are about or read.

    With Slurm (one ``squeue``), those without a living job whose stages are done, or are not ``named`` by any sweep;
    where there is no Slurm, those whose stages are all done; where it does not answer, none.
    """
    batches = Batches(store.root)
    every = list(batches)
    if not every:
        return [], set()
    is_there = shutil.which("squeue") is not None
    living: set[str] = set()
    if is_there:
        try:
            known = Queue.ask(batches)
        except QueueUnreachable:
            return [], _needed(batches, every)
        living = {job.array for jobs in known.by_stage.values() for job in jobs if job.is_alive}
    ended = []
    for batch in every:
        stages = set(batch.tasks.values())
        needed = {s for s in stages if not _is_done(store, s) and (not is_there or s in named)}
        if batch.job and batch.job not in living and not needed:
            ended.append(batch)
    gone = {batch.key for batch in ended}
    return ended, _needed(batches, [batch for batch in every if batch.key not in gone])


def _needed(batches: Batches, kept: Iterable[Batch]) -> set[str]:
    return {stage_id for batch in kept for stage_id in batches.needed(batch)}


def _is_done(store: Store, stage_id: str) -> bool:
    try:
        return store.is_done(stage_id)
    except HarnessError:
        return False  # damaged
