"""``harness run``: plan, data, stages, table."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.analysis import SavedSweep, Table, make_table
from harness.analysis.stored.reader import ScoreReader
from harness.cli.entry import ERROR, INCOMPLETE
from harness.cli.live import generating, watch
from harness.cli.planning import Prospect, look_ahead, make_plan, summary
from harness.cli.recording import SweepRecord, require_writable
from harness.cli.tracker import Tracker
from harness.errors import HarnessError, SpecError
from harness.launch.events import Event, Report
from harness.launch.pool import available_cores
from harness.plan import Plan, cache_folder, sweeps
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
    plan = make_plan(file, overrides)
    store = Store(results)
    if options.repair:
        for aside in store.repair(plan.stages.values()):
            print(f"set aside as {aside.path}: {aside.reason}")
    prospect = look_ahead(plan, store)
    record = sweeps.to_json(plan, prospect.costs.sizes)
    print(f"{plan.sweep.name}: {summary(prospect)}")
    for note in plan.sweep.notes:
        print(f"note: {note}")
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

            wish = _wish(prospect.plan)
            report = slurm.run(store, stages, wish, title=sweep.name, threads=threads, on_event=hear)
            kept.save()  # all was done, or in the queue already
        else:
            from harness.launch import local

            kept.save()
            report = local.run(store, stages, processes=processes, threads=threads, on_event=view.hear)
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
    return 0 if table.is_complete else INCOMPLETE


def _submit(prospect: Prospect, store: Store, sweep: SavedSweep, kept: SweepRecord, results: Path) -> int:
    from harness.launch import slurm

    plan = prospect.plan
    threads = plan.sweep.runtime.threads
    wish = _wish(plan)
    submission = slurm.submit(store, prospect.stages(), wish, title=sweep.name, threads=threads, on_event=kept.hear)
    kept.save()  # all was done, or in the queue already
    parts = [f"{count(len(submission.submitted), 'job')} submitted"]
    if submission.alive:
        parts.append(f"{len(submission.alive)} in the queue already")
    if submission.done:
        parts.append(f"{count(len(submission.done), 'stage')} done")
    print(", ".join(parts))
    if submission.unwatched:
        words = f"nobody looks after them ({submission.unwatched}): what gets lost needs this command again"
        print(words, file=sys.stderr)
    for stage_id, reason in submission.blocked.items():
        print(f"{plan.stages[stage_id]} cannot run: {reason}", file=sys.stderr)
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


def prepare_data(prospect: Prospect, processes: int) -> None:
    """Writes the microworlds that unfinished stages read and that are not in the cache yet."""
    for world in _worlds(prospect):
        from harness.data.microworld import cached_world, ensure

        folder = cached_world(world, cache_folder())
        if not folder.exists():
            with generating(folder, processes) as progress:
                ensure(world, cache_folder(), progress, processes)
    _check_folders(prospect)


def _check_folders(prospect: Prospect) -> None:
    """Reads the annotations that unfinished evaluations of a user's own data need: a mistake there is best told now.

    Raises ``HarnessError`` for files that are missing or malformed, and for an annotation without its picture.
    """
    from harness.data.dataset import Dataset

    wanted: set[tuple[str, str, str]] = set()
    for stage_id in prospect.remaining():
        stage = prospect.plan.stages[stage_id]
        if stage.kind == "evaluate" and "world" not in stage.location:
            wanted.update((stage.location["data"], stage.config["task"], pool) for pool in _pools(stage.config))
    datasets: dict[str, Dataset] = {}
    for folder, task, pool in sorted(wanted):
        dataset = datasets.setdefault(folder, Dataset.open(Path(folder), cache=cache_folder()))
        dataset.examples(task, pool)


def _pools(config: Mapping[str, Any]) -> list[str]:
    return [config["split"], *(["support"] if config["shots"] else [])]


def _worlds(prospect: Prospect) -> Iterator[dict[str, Any]]:
    texts = (prospect.plan.stages[stage_id].location.get("world") for stage_id in prospect.remaining())
    for text in dict.fromkeys(texts):
        if text:
            yield json.loads(text)


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


def _wish(plan: Plan) -> Any:
    from harness.launch.siblings import ranks_of
    from harness.launch.slurm import Resources

    cluster = plan.sweep.cluster
    resources = Resources(
        partition=cluster.partition,
        account=cluster.account,
        qos=cluster.qos,
        time_minutes=cluster.time_minutes,
        memory_gb=cluster.memory_gb,
        cpus=cluster.cpus,
        gpus=cluster.gpus,
        setup=cluster.setup,
        requeue=cluster.requeue,
    )
    return lambda stage: replace(resources, tasks=ranks_of(stage)) if ranks_of(stage) > 1 else resources


def _check(options: Options) -> None:
    if options.cluster not in ("", "slurm"):
        raise SpecError(f"--cluster {options.cluster}: there is no such kind of cluster", "Write --cluster slurm.")
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
