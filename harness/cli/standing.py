"""``harness status``: how a sweep stands, from the store and, if any stage was given to it, from Slurm's queue."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.analysis.stored.sweeps import SavedSweep
from harness.cli.collector import paused
from harness.cli.entry import INCOMPLETE
from harness.cli.indexing import indexing
from harness.cli.run_standing import ENDED, ORDER, RunStanding, Standing, concerned, rounded, stand
from harness.cli.selection import select
from harness.errors import SpecError
from harness.launch.status import StageStatus, look
from harness.plan.data import DataSource
from harness.report.fitting import fold
from harness.report.layout import columns as aligned
from harness.report.layout import width
from harness.report.quantities import count, duration
from harness.report.sources import open_sweep
from harness.store import Stage, Store
from harness.store.lease import Watch

UNNEEDED = "not here and not needed"
"""Features and label maps that nothing left to compute reads; an export lacks them."""

SHOWN_ID = 8
"""Digits of a stage's id that are shown, enough for `harness logs`."""

TITLES = ("run", "state", "stage", "id", "step", "loss", "left", "node", "job", "attempt", "reason")
NARROW = ("run", "state", "stage", "step", "left")
"""What stays in columns where there is no room for all."""

INDENT = 4
_ALIGN = "<<<<>>><<><"


@dataclass(frozen=True)
class View:
    """A sweep at one moment."""

    sweep: SavedSweep
    found: Mapping[str, StageStatus]
    standing: Standing
    is_attended: bool

    @property
    def has_ended(self) -> bool:
        """Whether nothing that is left can go on by itself, whoever comes."""
        return all(each.state in ENDED for each in self.found.values())

    @property
    def code(self) -> int:
        """The exit code."""
        return 0 if self.standing.is_complete else INCOMPLETE


def show(
    source: str, overrides: Sequence[str], conditions: Sequence[str], results: Path, as_json: bool, watch: bool = False
) -> int:
    """Prints how a sweep stands, or those runs of it for which the conditions hold; the exit code says whether they are
    complete.
    """
    if watch and as_json:
        raise SpecError("--watch is for people, --json is not", "Ask for one of them.")
    with paused():
        sweep, store = open_sweep(source, overrides, results, DataSource(progress=indexing))
    if conditions:
        runs = tuple(select(sweep, conditions))
        wanted = dict.fromkeys(stage_id for run in runs for stage_id in run.stages)
        sweep = replace(sweep, runs=runs, stages=sweep.stages.only(wanted))
    looking = looks(sweep, store)
    if watch:
        from harness.cli import watching

        return watching.watch(looking)
    view = looking()
    with paused():
        print(json.dumps(to_json(view), indent=2, ensure_ascii=False) if as_json else "\n".join(text(view, room())))
    return view.code


def looks(sweep: SavedSweep, store: Store) -> Callable[[], View]:
    """A function that looks how the sweep stands now; what had finished the last time it takes for finished."""
    with paused():
        stages: list[Stage] = list(sweep.stages.values())
    before: Mapping[str, StageStatus] = {}
    watches: dict[str, Watch] = {}

    def now() -> View:
        from harness.launch.slurm import warden

        nonlocal before
        with paused():
            seen = look(store, stages, before, watches)
            before = seen.stages
            standing = stand(sweep, seen.stages)
        at_work = any(each.state in ("running", "unknown", "queued") for each in seen.stages.values())
        return View(sweep, seen.stages, standing, at_work or warden.waits(store.root, sweep.name, seen.others))

    return now


def room() -> int | None:
    """The columns of the terminal; a pipe has none, and a line there is a line."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def to_json(view: View) -> dict[str, Any]:
    """The status as JSON values."""
    return {
        "name": view.sweep.name,
        "complete": view.standing.is_complete,
        "left_seconds": rounded(view.standing.left_seconds),
        "counts": dict(Counter(each.state for each in view.found.values())),
        "runs": [run.to_json() for run in view.standing.runs],
        "stages": [each.to_json() for each in view.found.values()],
    }


def text(view: View, columns: int | None) -> list[str]:
    """The status for people: counts, every run, the stage that it waits for or that went wrong."""
    return [*fold(headline(view), columns), "", *listing(view.standing.runs, columns)]


def headline(view: View) -> str:
    """The counts, and how long it will take."""
    sweep, found, standing = view.sweep, view.found, view.standing
    needed = {stage_id for run in sweep.runs for stage_id in concerned(run, found)}
    counts: Counter[str] = Counter(
        each.state if each.state == "done" or stage_id in needed else UNNEEDED for stage_id, each in found.items()
    )
    stages = ", ".join(f"{counts[state]} {state}" for state in ("done", *ORDER, UNNEEDED) if counts[state])
    complete = sum(run.state == "complete" for run in standing.runs)
    left = ""
    if standing.left_seconds is not None:
        left = f"; about {duration(standing.left_seconds)} left with {standing.at_work} at work"
    whole = count(len(sweep.runs), "run")
    return f"{sweep.name}: {complete} of {whole} complete; {count(len(found), 'stage')}: {stages}{left}"


def listing(runs: Sequence[RunStanding], columns: int | None) -> list[str]:
    """The runs as lines, with a line of titles; columns that none of them fills are left out.

    In a pipe a run is one line. On a terminal its reason stands below it, and what the columns have no room for.
    """
    rows = [cells(run) for run in runs]
    filled = [column for column in range(len(TITLES)) if any(row[column] for row in rows)]
    if columns is None:
        return _columns(rows, filled)
    whole = [column for column in filled if TITLES[column] != "reason"]
    if max(map(width, _columns(rows, whole))) <= columns:
        return _with_notes(rows, whole, columns)
    return _with_notes(rows, [column for column in whole if TITLES[column] in NARROW], columns)


def _with_notes(rows: Sequence[Sequence[str]], shown: Sequence[int], columns: int) -> list[str]:
    """A line for each row, and below it in words what the shown columns leave out."""
    title, *lines = _columns(rows, shown)
    found = fold(title, columns)
    for row, line in zip(rows, lines, strict=True):
        rest = [(TITLES[column], row[column]) for column in range(len(TITLES)) if column not in shown and row[column]]
        words = ", ".join(cell if name == "reason" else f"{name} {cell}" for name, cell in rest)
        found += fold(line, columns, INDENT)
        found += fold(" " * INDENT + words, columns, INDENT) if words else []
    return found


def _columns(rows: Sequence[Sequence[str]], shown: Sequence[int]) -> list[str]:
    chosen = [[row[column] for column in shown] for row in (TITLES, *rows)]
    return aligned(chosen, "".join(_ALIGN[column] for column in shown))


def cells(run: RunStanding) -> tuple[str, ...]:
    """What is said of a run, in the order of the titles."""
    each = run.stage
    left = f"~{duration(run.left_seconds)}" if run.left_seconds is not None else ""
    if each is None or (run.state in ("waiting", "blocked") and not each.attempts):
        return (run.name, run.state, "", "", "", "", left, "", "", "", "")
    progress = each.progress
    step = f"{progress['step']}/{progress.get('steps', '?')}" if "step" in progress else ""
    loss = f"{progress['loss']:.3f}" if isinstance(progress.get("loss"), int | float) else ""
    tries = str(each.attempts) if each.attempts > 1 or run.state in ("failed", "lost") else ""
    reason = each.reason.splitlines()[0] if each.reason else ""
    if run.state == "running" and reason:
        reason = f"before: {reason}"
    whole = (run.name, run.state, label(each.stage), each.stage.id[:SHOWN_ID], step, loss, left)
    return (*whole, each.node.partition(".")[0], each.job, tries, reason)


def label(stage: Stage) -> str:
    """A stage of a run that is named beside it: ``train main``, ``evaluate vqav2``."""
    part = stage.config.get("task") or stage.config.get("name") or ""
    return f"{stage.kind} {part}".strip() if isinstance(part, str) else stage.kind
