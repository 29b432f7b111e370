"""Which job arrays have ended, so that what is kept of them can go, and the code that they ran."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HarnessError
from harness.launch.slurm import snapshot
from harness.launch.slurm.queue import Queue, QueueUnreachable
from harness.store import Store
from harness.store.batches import Batch, Batches


@dataclass(frozen=True)
class Leftovers:
    """``ended``: batches that no job needs any more; ``needed``: the ids of stages that the others are about or read;
    ``code``: this user's snapshots that none of these, and no record of a run, names.
    """

    ended: list[Batch] = field(default_factory=list)
    needed: set[str] = field(default_factory=set)
    code: list[Path] = field(default_factory=list)


def sorted_out(store: Store, named: Collection[str]) -> Leftovers:
    """What is left of job arrays.

    With Slurm (one ``squeue``), those without a living job whose stages are done, or are not ``named`` by any sweep;
    where there is no Slurm, those whose stages are all done; where it does not answer, none.
    """
    batches = Batches(store.root)
    every = list(batches)
    if not every:
        return Leftovers(code=_unused(batches, ()))
    is_there = shutil.which("squeue") is not None
    living: set[str] = set()
    if is_there:
        try:
            known = Queue.ask(batches)
        except QueueUnreachable:
            return Leftovers(needed=_needed(batches, every))
        living = {job.array for jobs in known.by_stage.values() for job in jobs if job.is_alive}
    ended = []
    for batch in every:
        stages = set(batch.tasks.values())
        needed = {s for s in stages if not _is_done(store, s) and (not is_there or s in named)}
        if batch.job and batch.job not in living and not needed:
            ended.append(batch)
    gone = {batch.key for batch in ended}
    kept = [batch for batch in every if batch.key not in gone]
    return Leftovers(ended, _needed(batches, kept), _unused(batches, kept))


def _needed(batches: Batches, kept: Iterable[Batch]) -> set[str]:
    return {stage_id for batch in kept for stage_id in batches.needed(batch)}


def _unused(batches: Batches, kept: Iterable[Batch]) -> list[Path]:
    """Snapshots of this user. Those of others are theirs to remove: their folders cannot be entered."""
    runs = batches.run_file("").parent
    named = {batch.wishes.get(snapshot.FOLDER) for batch in kept}
    for path in runs.glob("*.jsonl"):
        with contextlib.suppress(OSError, ValueError, AttributeError), open(path, "rb") as lines:
            named.add(json.loads(next(lines, b"{}")).get(snapshot.FOLDER))
    folders = sorted(runs.glob(f"{snapshot.FOLDER}/*"))
    return [path for path in folders if str(path) not in named and not path.name.startswith(".")]


def _is_done(store: Store, stage_id: str) -> bool:
    try:
        return store.is_done(stage_id)
    except HarnessError:
        return False  # damaged
