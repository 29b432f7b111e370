"""``harness run``: plan, data, stages, table."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.analysis import SavedSweep, Table, make_table
from harness.analysis.stored.reader import ScoreReader
from harness.cli import budgeting
from harness.cli.entry import ERROR, INCOMPLETE
from harness.cli.live import watch
from harness.cli.planning import Prospect, look_ahead, make_plan, summary
from harness.cli.preparing import prepare_data
from harness.cli.recording import SweepRecord, require_writable
from harness.cli.tracker import Tracker
from harness.errors import HarnessError, SpecError
from harness.launch.events import Event, Report
from harness.launch.pool import available_cores
from harness.launch.slurm.runs import WantedRun
from harness.launch.slurm.wishes import wishes
from harness.plan import Plan, sweeps
from harness.report.quantities import count, duration
from harness.store import Store

FORMS = {"table.md": "markdown", "table.tex": "latex", "table.csv": "csv", "table.json": "json"}


@dataclass(frozen=True)
class Options:
    """How a sweep is run."""

    cluster: str = ""
    wait: bool = False
    processes: int = 0
    repair: bool = False


def run(file: Path, overrides: Sequence[str], results: Path, options: Options) -> int:
    """Runs a sweep and prints its table; returns the exit code."""
    _check(options)
    plan = make_plan(file, overrides, options.cluster)
    store = Store(results)
    if options.repair:
        for aside in store.repair(plan.stages.values()):
            print(f"set aside as {aside.path}: {aside.reason}")
    prospect = look_ahead(plan, store)
    record = sweeps.to_json(plan, prospect.costs.sizes)
    print(f"{plan.sweep.name}: {summary(prospect)}")
    for note in plan.sweep.notes:
        print(f"note: {note}")
    budgeting.require_affordable(prospect, store, submits=bool(options.cluster))
    for line in budgeting.lines(prospect, store):
        print(line)
    require_writable(results)
    if prospect.remaining():
        prepare_data(prospect, _processes(plan, options))
    again = _command(file, overrides, results, options)
    sweep = SavedSweep.of(record)
    kept = SweepRecord(results, plan.sweep.name, record)
    if options.cluster and not options.wait:
        return _submit(prospect, store, sweep, kept, results)
    return _run(prospect, store, sweep, kept, options, again)


def _run(prospect: Prospect, store: Store, sweep: SavedSweep, kept: SweepRecord, options: Options, again: str) -> int:
    reader = ScoreReader(store)
    processes = _processes(prospect.plan, options)
    stages = prospect.stages()
    threads = prospect.plan.sweep.runtime.threads
    tracker = Tracker(prospect.plan, prospect.costs, len(stages) if options.cluster else processes)
    with watch(tracker, lambda: make_table(sweep, store, reader)) as view:
        if options.cluster:
            from harness.launch import slurm

            def hear(event: Event) -> None:
                kept.hear(event)
                view.hear(event)

            snapshot = prospect.plan.sweep.cluster.snapshot
            report = slurm.run(store, _wanted(prospect), snapshot=snapshot, on_event=hear)
            kept.save()  # all was done, or in the queue already
        else:
            from harness.launch import local

            kept.save()
            spends = budgeting.ledger(prospect, store)
            report = local.run(store, stages, processes=processes, threads=threads, on_event=view.hear, ledger=spends)
    table = make_table(sweep, store, reader)
    if prospect.remaining():
        print(f"{count(tracker.stages_done, 'stage')} done in {duration(tracker.elapsed)}")
    return _conclude(table, report, store, options, again)


def _conclude(table: Table, report: Report, store: Store, options: Options, again: str) -> int:
    """Prints the table and what is missing, keeps the table beside the record; returns the exit code."""
    from harness.cli.console import show
    from harness.report.terminal import render

    if any(row.seeds for row in table.rows) or not report.interrupted:
        print()
        show(render(table))
    folder = _keep(table, store)
    if folder is not None and not report.interrupted:
        print(f"\nsaved in {folder}: {', '.join(FORMS)}, figures (more: harness figures)")
    failed = report.in_state("failed")
    if report.interrupted:
        jobs = "the jobs go on; " if options.cluster else ""
        print(f"interrupted; {jobs}nothing finished is lost, go on with: {again}", file=sys.stderr)
        return INCOMPLETE
    if failed:
        first = failed[0]
        where = f"; log: {first.log}" if first.log else ""
        print(
            f"{count(len(failed), 'stage')} failed, first {first.stage}: {first.reason}{where}\n"
            f"  → When the cause is removed, go on with: {again}",
            file=sys.stderr,
        )
        return INCOMPLETE
    for line in budgeting.reasons(result.reason for result in report.in_state("blocked")):
        print(line, file=sys.stderr)
    return 0 if table.is_complete else INCOMPLETE


def _submit(prospect: Prospect, store: Store, sweep: SavedSweep, kept: SweepRecord, results: Path) -> int:
    from harness.launch import slurm

    snapshot = prospect.plan.sweep.cluster.snapshot
    submission = slurm.submit(store, _wanted(prospect), snapshot=snapshot, on_event=kept.hear)
    kept.save()  # all was done, or in the queue already
    parts = [f"{count(len(submission.submitted), 'job')} submitted"]
    if submission.alive:
        parts.append(f"{len(submission.alive)} in the queue already")
    if submission.done:
        parts.append(f"{count(len(submission.done), 'stage')} done")
    print(", ".join(parts))
    for why in submission.avoided.values():
        print(why)
    if submission.unwatched:
        words = f"nobody looks after them ({submission.unwatched}): what gets lost needs this command again"
        print(words, file=sys.stderr)
    for line in budgeting.reasons(submission.blocked.values()):
        print(line, file=sys.stderr)
    table = make_table(sweep, store)
    where = [] if results == Path("results") else ["--results", str(results)]
    if not submission.submitted and not submission.alive:
        from harness.cli.console import show
        from harness.report.terminal import render

        _keep(table, store)
        show(render(table))
        return 0 if table.is_complete else INCOMPLETE
    print(f"follow them with: {shlex.join(['harness', 'status', sweep.name, *where])}")
    print(f"the table, as far as it is there: {shlex.join(['harness', 'table', sweep.name, *where])}")
    return ERROR if submission.blocked else 0


def _keep(table: Table, store: Store) -> Path | None:
    """Writes the table in all forms and two figures beside the record; ``None`` when that was not possible."""
    from harness.cli.tables import text
    from harness.report import figures
    from harness.store import write_bytes

    folder = sweeps.sweep_folder(store.root, table.sweep.name)
    content = {name: text(table, form).encode() for name, form in FORMS.items()}
    try:
        pictures = [folder / figures.FOLDER / f"{name}.png" for name in figures.fitting(table, figures.AT_THE_END)]
        if all(_holds(folder / name, data) for name, data in content.items()) and all(p.exists() for p in pictures):
            return folder  # drawing takes longer than everything else when nothing is new
        figures.write(table, store, folder / figures.FOLDER, figures.AT_THE_END)
        for name, data in content.items():
            write_bytes(folder / name, data, durable=False)
    except (HarnessError, OSError) as error:
        print(f"the table could not be saved: {error}", file=sys.stderr)
        return None
    return folder


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False


def _processes(plan: Plan, options: Options) -> int:
    wanted = options.processes or plan.sweep.runtime.processes
    return wanted or max(1, available_cores() // plan.sweep.runtime.threads)


def _wanted(prospect: Prospect) -> WantedRun:
    sweep = prospect.plan.sweep
    stages = prospect.stages()
    asked = wishes(prospect.plan, prospect.costs)
    return WantedRun(
        title=sweep.name,
        stages=stages,
        wishes=[asked[stage.id] for stage in stages],
        threads=sweep.runtime.threads,
        budget=budgeting.budget(prospect),
    )


def _check(options: Options) -> None:
    if options.wait and not options.cluster:
        raise SpecError("--wait goes with --cluster", "Local runs are always waited for.")


def _command(file: Path, overrides: Sequence[str], results: Path, options: Options) -> str:
    """The command that goes on where this one stopped."""
    words = ["harness", "run", str(file), *overrides]
    if options.cluster:
        words += ["--cluster", options.cluster, *(["--wait"] if options.wait else [])]
    if options.processes:
        words += ["--processes", str(options.processes)]
    if results != Path("results"):
        words += ["--results", str(results)]
    return shlex.join(words)
