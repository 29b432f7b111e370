"""``harness run FILE --only ID``: one stage of a sweep, with what it needs, here and in the foreground."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from harness.cli.entry import INCOMPLETE
from harness.cli.planning import look_ahead, make_plan
from harness.cli.preparing import prepare_data
from harness.cli.recording import SweepRecord, require_writable
from harness.cli.tracker import Active
from harness.errors import HarnessError, SpecError
from harness.launch.graph import Graph
from harness.plan import Outlook, Plan, sweeps
from harness.report.quantities import count, duration
from harness.store import Busy, Held, Stage, Store, Workspace

SHORTEST_ID = 4
SAID_SECONDS = 2.0  # between two lines about how far a stage is
SHOWN = 6


def run(file: Path, overrides: Sequence[str], results: Path, wanted: str, debug: bool) -> int:
    """Computes the stage that ``wanted`` names, unless it is done; its inputs first, where they are missing.

    Returns the exit code. With ``debug``, an error of the stage is raised as it is.
    """
    from harness.launch import foreground

    plan = make_plan(file, overrides)
    stage = find(plan, wanted)
    store = Store(results)
    missing = _missing(plan, store, stage)
    if not missing:
        print(f"{stage} is done: {store.path(stage)}")
        return 0
    if len(missing) > 1:
        print(f"{stage} needs {count(len(missing) - 1, 'stage')} first that {_is(missing)} not done:")
        print("\n".join(f"    {each}" for each in missing[:-1]))
    _prepare(plan, store, missing, results)
    for each in missing:
        progress = _Progress(each)
        print(f"{each}:", flush=True)
        try:
            threads = plan.sweep.runtime.threads
            record = foreground.compute(store, each, threads=threads, listener=progress.hear, on_start=progress.start)
        except Busy as busy:
            raise _in_use(plan, each, busy.held) from busy
        except Exception as error:
            if debug or isinstance(error, HarnessError):
                raise
            words = ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
            again = shlex.join(
                ["harness", "run", str(file), *overrides, "--only", each.id, *_where(results), "--debug"]
            )
            print(f"{each} failed: {words}\n  log: {store.path(each) / 'log.txt'}", file=sys.stderr)
            print(f"  → with its traceback: {again}", file=sys.stderr)
            return INCOMPLETE
        diverged = record.outcome == "diverged"
        print(f"{'diverged' if diverged else 'done'} in {duration(progress.elapsed)}: {store.path(each)}", flush=True)
        if diverged and each is not stage:
            print(f"{stage} cannot be computed from it", file=sys.stderr)
            return INCOMPLETE
    return 0


def find(plan: Plan, wanted: str) -> Stage:
    """The stage of a plan that an id, how that begins, or a name means. Raises ``SpecError`` for none or several."""

    def names(stage: Stage) -> tuple[str, ...]:
        return (stage.slug, stage.name, f"{stage.kind} {stage.slug}", str(stage), f"{stage.kind}/{stage.name}")

    stages = list(plan.stages.values())
    found = [stage for stage in stages if len(wanted) >= SHORTEST_ID and stage.id.startswith(wanted)]
    found = found or [stage for stage in stages if wanted in names(stage)]
    if len(found) == 1:
        return found[0]
    if found:
        shown = "".join(f"\n    {stage}" for stage in found[:SHOWN])
        raise SpecError(f"--only {wanted}: {len(found)} stages are called so{shown}", "Give more of the id.")
    near = get_close_matches(wanted, [stage.slug for stage in stages], 1)
    remedy = f"Did you mean {near[0]}?" if near else "`harness plan` and `harness status` show the stages of a sweep."
    raise SpecError(f"--only {wanted}: {plan.sweep.name} has no such stage", remedy)


def _missing(plan: Plan, store: Store, wanted: Stage) -> list[Stage]:
    """The stages that are to be computed for one, in that order, itself the last; none when it is done."""
    needed: dict[str, Stage] = {}
    queue = [wanted]
    while queue:
        stage = queue.pop()
        record = store.record(stage)
        if record is not None and record.outcome == "diverged" and stage is not wanted:
            raise HarnessError(f"{wanted} cannot be computed: {stage} has diverged", "Nothing that reads it can run.")
        if record is None:
            needed[stage.id] = stage
            queue += [plan.stages[stage_id] for stage_id in stage.inputs.values() if stage_id not in needed]
    return [stage for stage in Graph(plan.stages.values()).in_dependency_order() if stage.id in needed]


def _is(missing: Sequence[Stage]) -> str:
    return "is" if len(missing) == 2 else "are"


def _prepare(plan: Plan, store: Store, missing: Sequence[Stage], results: Path) -> None:
    """Writes the data that the stages read, and the record of the sweep if there is none: it names their results."""
    require_writable(results)
    prospect = look_ahead(plan, store)
    prepare_data(replace(prospect, outlooks={stage.id: Outlook("run", "") for stage in missing}), 1)
    if not (sweeps.sweep_folder(results, plan.sweep.name) / sweeps.FILE).exists():
        SweepRecord(results, plan.sweep.name, sweeps.to_json(plan, prospect.costs.sizes)).save()


def _in_use(plan: Plan, stage: Stage, held: Held) -> HarnessError:
    owner = held.owner
    if owner.job:
        remedy = f"Wait for it, or cancel it: scancel {owner.job}; `harness cancel {plan.sweep.name}` cancels all."
        return HarnessError(f"job {owner.job} on {owner.host} is computing {stage}", remedy)
    remedy = f"Wait for it, or end it (there: kill {owner.pid}) and the run that it belongs to."
    return HarnessError(f"process {owner.pid} on {owner.host} is computing {stage}", remedy)


def _where(results: Path) -> list[str]:
    return [] if results == Path("results") else ["--results", str(results)]


class _Progress:
    """Says how far a stage is, at a person's pace."""

    def __init__(self, stage: Stage) -> None:
        self._began = time.monotonic()
        self._active = Active(stage.kind, stage.slug, self._began, 0.0)
        self._said = float("-inf")
        self._screen = sys.stdout  # without the log, which is kept while the stage is computed

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def start(self, workspace: Workspace) -> None:
        """Says where the log is, and which attempt this is if it is not the first."""
        again = f"attempt {workspace.attempt}, " if workspace.attempt > 1 else ""
        print(f"    {again}log: {workspace.log}", flush=True)

    def hear(self, progress: Mapping[str, Any]) -> None:
        """Takes a report."""
        now, active = time.monotonic(), self._active
        active.progress = progress
        step = progress.get("step")
        if isinstance(step, int) and active.first_step is None:
            active.first_step, active.first_time = step, now
        if now - self._said >= SAID_SECONDS or (step is not None and step == progress.get("steps")):
            self._said = now
            print(f"    {active.words(now)}", file=self._screen, flush=True)
