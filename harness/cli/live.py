"""What a run shows while it goes on: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analysis import Table
from harness.analysis.tables.table import MEAN
from harness.cli.tracker import Active, Tracker
from harness.launch.events import Event
from harness.plan import Run
from harness.report import cells
from harness.report.quantities import count, duration

if TYPE_CHECKING:
    from rich.console import RenderableType

LINE_SECONDS = 15.0
"""Between two plain lines about the same stage."""

MakeTable = Callable[[], Table]


class PlainLines:
    """One line for each thing worth knowing; for pipes, logs and batch jobs."""

    def __init__(self, tracker: Tracker, make_table: MakeTable) -> None:
        self._tracker = tracker
        self._make_table = make_table
        self._last: dict[str, float] = {}

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def hear(self, event: Event) -> None:
        """Takes an event in and prints what it means."""
        complete = self._tracker.hear(event)
        name = f"{event.stage.kind} {event.stage.slug}"
        if event.kind == "started":
            again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
            self._say(f"{name}: begun{again}")
            self._last[event.stage.id] = time.monotonic()
        elif event.kind == "progress":
            if time.monotonic() - self._last.get(event.stage.id, 0.0) >= LINE_SECONDS:
                self._last[event.stage.id] = time.monotonic()
                active = self._tracker.active.get(event.stage.id)
                if active is not None:
                    self._say(f"{name}: {active.words(time.monotonic())}")
        elif event.kind == "finished":
            self._say(f"{name}: {'diverged' if event.outcome == 'diverged' else 'done'}{self._rest()}")
        elif event.kind == "submitted":
            self._say("; ".join(filter(None, (f"{name}: job {event.job}", event.reason))))
        elif event.kind == "held":
            self._say(f"{name}: another run works on it ({event.reason}), its result will be used")
        elif event.kind in ("retrying", "failed", "blocked"):
            self._say("\n".join(problem_lines(event)))
        if complete and event.kind != "reused":
            for line in variant_lines(self._make_table(), complete):
                self._say(line)

    def _rest(self) -> str:
        tracker = self._tracker
        total = len(tracker.plan.stages)
        left = f", about {duration(tracker.left())} left" if tracker.stages_done < total else ""
        return f" ({tracker.stages_done} of {total} stages{left})"

    def _say(self, text: str) -> None:
        minutes, seconds = divmod(int(self._tracker.elapsed), 60)
        print(f"[{minutes:02d}:{seconds:02d}] {text}", flush=True)


class LiveView:
    """Redraws the state of the run on a terminal: counts, what is being worked on, the table as far as it is there."""

    def __init__(self, tracker: Tracker, make_table: MakeTable) -> None:
        from rich.live import Live

        from harness.cli.console import console

        self._tracker = tracker
        self._make_table = make_table
        self._table: Table | None = None
        self._console = console()
        self._live = Live(
            console=self._console,
            get_renderable=self.render,
            refresh_per_second=4,
            transient=True,
            vertical_overflow="crop",
        )

    def __enter__(self) -> LiveView:
        self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._live.__exit__(*error)

    def hear(self, event: Event) -> None:
        """Takes an event in; problems are printed above the live part and stay."""
        complete = self._tracker.hear(event)
        if event.kind in ("retrying", "failed", "blocked"):
            self._console.print("\n".join(problem_lines(event)), markup=False, style="red")
        if complete and event.kind != "reused":
            self._table = self._make_table()
            for line in variant_lines(self._table, complete):
                self._console.print(line, markup=False)

    def render(self) -> RenderableType:
        """The live part."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table as Grid
        from rich.text import Text

        from harness.report.terminal import render

        tracker, now = self._tracker, time.monotonic()
        total = len(tracker.plan.stages)
        head = Grid.grid(padding=(0, 2, 0, 0))
        head.add_row(
            Text(tracker.plan.sweep.name, style="bold"),
            f"{tracker.runs_done}/{len(tracker.plan.runs)} runs",
            f"{tracker.stages_done}/{total} stages",
            ProgressBar(total=total, completed=tracker.stages_done, width=24),
            f"{duration(tracker.elapsed)} so far",
            f"about {duration(tracker.left())} left",
        )
        work = Grid.grid(padding=(0, 2, 0, 0))
        shown = list(tracker.active.values())
        for active in shown[:8]:
            work.add_row(Text(active.kind, style="cyan"), Text(active.name, overflow="ellipsis"), *_bar(active, now))
        parts: list[RenderableType] = [head, work]
        if len(shown) > 8:
            parts.append(Text(f"and {len(shown) - 8} more", style="dim"))
        if self._table is not None:
            room = self._console.size.height - len(shown[:8]) - 5
            if 5 * len(self._table.rows) <= room:
                parts += [Text(""), render(self._table, brief=True)]
        return Group(*parts)


def _bar(active: Active, now: float) -> tuple[Any, str]:
    from rich.progress_bar import ProgressBar

    return ProgressBar(total=1.0, completed=active.share(), width=16), active.words(now)


def watch(tracker: Tracker, make_table: MakeTable) -> PlainLines | LiveView:
    """The view that suits the standard output."""
    if can_redraw():
        return LiveView(tracker, make_table)
    return PlainLines(tracker, make_table)


def can_redraw() -> bool:
    """Whether standard output is a terminal that can move its cursor."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def problem_lines(event: Event) -> list[str]:
    """What went wrong with a stage, the end of its log, and where the rest is."""
    words = {"retrying": "died, will be tried again", "failed": "failed", "blocked": "cannot run"}
    lines = [f"{event.stage.kind} {event.stage.slug}: {words[event.kind]}: {event.reason}"]
    if event.kind == "failed":
        lines += [f"    {line}" for line in event.tail.splitlines()[-6:]]
    if event.log is not None and event.kind != "blocked":
        lines.append(f"    log: {event.log}")
    return lines


def variant_lines(table: Table, runs: list[Run]) -> list[str]:
    """The result of each run that has just become complete."""
    lines = []
    for run in runs:
        row = table.row(run.variant.name)
        score = cells.score(row.scores.get(MEAN), brief=True)
        difference = cells.difference(row.difference.get(MEAN), row, brief=True)
        change = f", Δ {difference}" if not row.variant.is_baseline and row.difference[MEAN].interval else ""
        lines.append(f"{run.name}: mean {score}{change} ({cells.seeds(row)} seeds)")
    return lines


def generating(folder: Path, processes: int) -> AbstractContextManager[Callable[[int, int], None]]:
    """A progress bar for the drawing of a microworld; one line where there is no terminal."""
    if not can_redraw():
        print(f"writing the microworld to {folder} with {count(processes, 'process', 'processes')}", flush=True)
        return nullcontext(lambda done, total: None)
    return _Bar(f"writing the microworld to {folder}")


class _Bar:
    def __init__(self, text: str) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        from harness.cli.console import console

        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console(), transient=True)
        self._task = self._progress.add_task(text, total=None)

    def __enter__(self) -> Callable[[int, int], None]:
        self._progress.start()
        return lambda done, total: self._progress.update(self._task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
