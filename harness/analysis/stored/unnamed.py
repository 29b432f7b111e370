"""Finished work of a sweep that its record does not name: the record is that of the last run, which had other seeds."""

from __future__ import annotations

import re

from harness.analysis.stored.sweeps import SavedSweep
from harness.errors import HarnessError
from harness.store import Store

_NAME = re.compile(r"(?P<task>[a-z0-9_]+)-seed(?P<seed>\d+)-(?P<variant>.+)-(?P<id>[0-9a-f]{16})")


def unnamed_seeds(sweep: SavedSweep, store: Store) -> list[int]:
    """Seeds that are not the record's, of which the store holds finished evaluations of its variants.

    An evaluation counts when it was asked the same as the record's own. Folders are told by their names, and one a seed
    is read: this is a hint, which costs no more than looking through a folder.
    """
    mine = {(run.variant, task): stage_id for run in sweep.runs for task, stage_id in run.evaluate.items()}
    found: set[int] = set()
    for folder in sorted((store.root / "stages" / "evaluate").glob("*-seed*")):
        match = _NAME.fullmatch(folder.name)
        if match is None or int(match["seed"]) in found.union(sweep.seeds):
            continue
        own = mine.get((match["variant"], match["task"]))
        if own is None or not (folder / "done.json").exists():
            continue
        try:
            other, stage = store.stage(match["id"]), sweep.stages[own]
        except HarnessError:
            continue  # damage is told by whoever reads that stage's results
        if {**other.config, "seed": 0} == {**stage.config, "seed": 0} and other.digests == stage.digests:
            found.add(int(match["seed"]))
    return sorted(found)
