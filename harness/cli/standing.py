"""``harness status``: how a sweep stands, from the store and, if any stage was given to it, from Slurm's queue."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.analysis.stored.sweeps import RunEntry, SavedSweep
from harness.cli.entry import INCOMPLETE
from harness.cli.indexing import indexing
from harness.cli.selection import select
from harness.launch.status import StageStatus, status
from harness.plan.data import DataSource
from harness.report.layout import columns
from harness.report.quantities import count
from harness.report.sources import open_sweep

# What a run is called when its stages are in these states: the first that occurs.
ORDER = ("failed", "diverged", "running", "lost", "queued", "waiting", "blocked")

UNNEEDED = "not here and not needed"
"""Features and label maps that nothing left to compute reads; an export lacks them."""


def show(source: str, overrides: Sequence[str], conditions: Sequence[str], results: Path, as_json: bool) -> int:
    """Prints how a sweep stands, or those runs of it for which the conditions hold; the exit code says whether they are
    complete.
    """
    sweep, store = open_sweep(source, overrides, results, DataSource(progress=indexing))
    if conditions:
        runs = tuple(select(sweep, conditions))
        wanted = dict.fromkeys(stage_id for run in runs for stage_id in run.stages)
        sweep = replace(sweep, runs=runs, stages=sweep.stages.only(wanted))
    found = status(store, list(sweep.stages.values()))
    print(json.dumps(to_json(sweep, found), indent=2, ensure_ascii=False) if as_json else text(sweep, found))
    return 0 if is_complete(sweep, found) else INCOMPLETE


def is_complete(sweep: SavedSweep, found: Mapping[str, StageStatus]) -> bool:
    """Whether nothing is left to run: every run is complete, or diverged and will never be."""
    return all(run_state(run, found) in ("complete", "diverged") for run in sweep.runs)


def run_state(run: RunEntry, found: Mapping[str, StageStatus]) -> str:
    """The state of a run in one word."""
    states = {found[stage_id].state for stage_id in _concerned(run, found)}
    return next((state for state in ORDER if state in states), "complete")


def _concerned(run: RunEntry, found: Mapping[str, StageStatus]) -> tuple[str, ...]:
    """The stages that decide how a run stands; features only as long as something has to read them."""
    others = (*run.train, *run.evaluations)
    return others if all(found[stage_id].state == "done" for stage_id in others) else run.stages


def to_json(sweep: SavedSweep, found: Mapping[str, StageStatus]) -> dict[str, Any]:
    """The status as JSON values."""
    return {
        "name": sweep.name,
        "complete": is_complete(sweep, found),
        "counts": dict(Counter(each.state for each in found.values())),
        "runs": [
            {"variant": run.variant, "seed": run.seed, "state": run_state(run, found), "stages": list(run.stages)}
            for run in sweep.runs
        ],
        "stages": [each.to_json() for each in found.values()],
    }


def text(sweep: SavedSweep, found: Mapping[str, StageStatus]) -> str:
    """The status for people: counts, every run, every stage that somebody works on or that went wrong."""
    needed = {stage_id for run in sweep.runs for stage_id in _concerned(run, found)}
    counts: Counter[str] = Counter(
        each.state if each.state == "done" or stage_id in needed else UNNEEDED for stage_id, each in found.items()
    )
    stages = ", ".join(f"{counts[state]} {state}" for state in ("done", *ORDER, UNNEEDED) if counts[state])
    complete = sum(run_state(run, found) == "complete" for run in sweep.runs)
    lines = [
        f"{sweep.name}: {complete} of {count(len(sweep.runs), 'run')} complete; {count(len(found), 'stage')}: {stages}",
        "",
    ]
    rows = []
    for run in sweep.runs:
        state = run_state(run, found)
        concerned = next((found[s] for s in run.stages if found[s].state == state), None)
        detail = _words(concerned) if concerned is not None and state not in ("waiting", "blocked") else ""
        rows.append((f"{run.variant} seed {run.seed}", state, detail))
    return "\n".join([*lines, *columns(rows)])


def _words(each: StageStatus) -> str:
    progress = each.progress
    parts = [f"{each.stage.kind} {each.stage.slug}"]
    if "step" in progress:
        parts.append(f"step {progress['step']}/{progress.get('steps', '?')}")
    if isinstance(progress.get("loss"), int | float):
        parts.append(f"loss {progress['loss']:.3f}")
    if each.job:
        parts.append(f"job {each.job}")
    if each.detail:
        parts.append(each.detail.splitlines()[0])
    return ", ".join(parts)
