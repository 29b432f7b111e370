"""``harness check``: every variant of sweep files, trained for two steps and looked at from all sides."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.cli.entry import ERROR, INCOMPLETE
from harness.cli.planning import look_ahead, make_plan
from harness.cli.running import prepare_data
from harness.launch import local
from harness.launch.events import Event, Report
from harness.launch.pool import available_cores
from harness.plan import Plan, Run
from harness.plan.checking import check_stage
from harness.report.quantities import count, duration
from harness.store import Stage, Store

SCALE = "smoke"


def check(files: Sequence[Path], overrides: Sequence[str], scale: str, processes: int, results: Path | None) -> int:
    """Checks the variants of sweep files under overrides; returns the exit code."""
    began = time.monotonic()
    with ExitStack() as stack:
        root = results or Path(stack.enter_context(TemporaryDirectory(prefix="harness-check-")))
        store = Store(root)
        plans = {file: make_plan(file, [f"scale={scale}", *overrides]) for file in files}
        processes = processes or available_cores()
        for plan in plans.values():
            prepare_data(look_ahead(plan, store), processes)
        checks = {file: [check_stage(plan, run) for run in plan.runs] for file, plan in plans.items()}
        stages = _in_order(plans, checks)
        runs = sum(len(plan.runs) for plan in plans.values())
        print(f"{count(runs, 'run')} of {count(len(files), 'file')}, {count(len(stages), 'stage')}", flush=True)
        report = local.run(store, stages, processes=processes, on_event=_tell)
        problems: dict[str, list[str]] = {}
        for file, plan in plans.items():
            found = [_problem(report, run, stage) for run, stage in zip(plan.runs, checks[file], strict=True)]
            print(f"{file}: {found.count('')} of {len(found)} passed")
            for run, problem in zip(plan.runs, found, strict=True):
                name = f"{plan.sweep.name} {run.name}" if len(files) > 1 else run.name
                problems.setdefault(problem, []).append(name)
        failed = runs - len(problems.pop("", []))
        for problem, names in problems.items():  # what several runs have is said once
            print(f"  {', '.join(names)}: {problem}", file=sys.stderr)
        print(f"{runs - failed} of {count(runs, 'run')} passed in {duration(time.monotonic() - began)}")
        if report.interrupted:
            return INCOMPLETE
        return ERROR if failed else 0


def _in_order(plans: Mapping[Path, Plan], checks: Mapping[Path, Sequence[Stage]]) -> list[Stage]:
    """All stages, each once; those of a run together and its check after them."""
    found: dict[str, Stage] = {}
    for file, plan in plans.items():
        for run, check in zip(plan.runs, checks[file], strict=True):
            own = [*(plan.stages[stage_id] for stage_id in run.stages), check]
            found.update((stage.id, stage) for stage in own if stage.id not in found)
    return list(found.values())


def _problem(report: Report, run: Run, check: Stage) -> str:
    """Why a run did not pass, empty if it did."""
    for stage_id in (*run.stages, check.id):
        result = report.results[stage_id]
        if result.state != "done":
            return f"{result.stage.kind}: {result.reason or result.state}"
    return ""


def _tell(event: Event) -> None:
    """A failure while the others go on; why is said at the end."""
    if event.kind == "failed":
        print(f"{event.stage} failed", file=sys.stderr, flush=True)
