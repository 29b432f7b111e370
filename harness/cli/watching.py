"""``harness status --watch``: a view that is drawn anew on a terminal, lines of what has changed elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from harness.cli.live import can_redraw
from harness.cli.run_standing import RunStanding
from harness.cli.standing import View, cells, headline, listing
from harness.report.fitting import fold

if TYPE_CHECKING:
    from rich.console import RenderableType

WATCH_SECONDS = 5.0
REST = 10
"""Between two looks it rests ten times as long as a look takes: a large sweep asks a busy controller less often."""

QUIET_SECONDS = 60.0
"""When nobody has worked on a sweep for so long, it has ended as it stands. A run that begins draws its data first."""

# Runs in the order in which a terminal that has no room for all of them shows them.
_WORTH = ("failed", "diverged", "lost", "running", "unknown", "queued", "waiting", "blocked", "complete")
_STYLES = {"failed": "red", "diverged": "red", "lost": "red", "running": "cyan", "complete": "green"}


class _Watching(Protocol):
    def show(self, view: View) -> None: ...


def watch(look: Callable[[], View], sleep: Callable[[float], None] = time.sleep) -> int:
    """Shows how a sweep stands until it has ended, or Ctrl-C; returns the exit code."""
    quiet = 0.0
    view: View | None = None
    picture = _Picture() if can_redraw() else _Lines()
    with picture as shown:
        try:
            while True:
                began = time.monotonic()
                view = look()
                shown.show(view)
                if view.standing.is_complete or view.has_ended or quiet > QUIET_SECONDS:
                    break
                pause = max(WATCH_SECONDS, REST * (time.monotonic() - began))
                sleep(pause)
                quiet = 0.0 if view.is_attended else quiet + pause
        except KeyboardInterrupt:
            pass  # the watching ends, not the work
    if quiet > QUIET_SECONDS:
        print(f"nobody has worked on it for {quiet:.0f} s")
    return view.code if view is not None else 0


class _Lines(AbstractContextManager["_Lines"]):
    """All of it once, then a line for each run that stands otherwise than before."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[str, ...]] = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, view: View) -> None:
        """Prints what is new."""
        now = {run.name: _told(run) for run in view.standing.runs}
        if not self._before:
            print("\n".join([headline(view), *listing(view.standing.runs, None)]), flush=True)
        elif now != self._before:
            for run in view.standing.runs:
                if now[run.name] != self._before.get(run.name):
                    print(time.strftime("[%H:%M:%S] ") + "  ".join(filter(None, cells(run))))
            print(time.strftime("[%H:%M:%S] ") + headline(view), flush=True)
        self._before = now


def _told(run: RunStanding) -> tuple[str, ...]:
    """What is worth a line when it changes; steps are not."""
    each = run.stage
    if each is None:
        return (run.state,)
    return (run.state, each.stage.id, each.node, each.job, str(each.attempts), each.reason)


class _Picture(AbstractContextManager["_Picture"]):
    """Drawn anew in its place."""

    def __init__(self) -> None:
        from rich.live import Live

        from harness.cli.console import console

        self._console = console()
        self._view: View | None = None
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> _Picture:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, view: View) -> None:
        """Draws it."""
        self._live.update(picture(view, self._console.width, self._console.height), refresh=True)


def picture(view: View, columns: int, lines: int) -> RenderableType:
    """The sweep within the lines of a terminal: where they are too few, the runs that need somebody come first."""
    from rich.text import Text

    head = fold(headline(view), columns)
    runs = view.standing.runs
    body = listing(runs, columns)
    shown = len(runs)
    if len(head) + 1 + len(body) > lines - 1:
        worth = sorted(runs, key=lambda run: _WORTH.index(run.state))
        shown = max(1, lines - len(head) - 4)
        body = listing(worth[:shown], columns)
        while shown > 1 and len(head) + len(body) + 2 > lines - 1:
            shown -= 1
            body = listing(worth[:shown], columns)
    text = Text("\n".join(head), style="bold", no_wrap=True)
    text.append("\n")
    style = "dim"
    for number, line in enumerate(body):
        if number and not line.startswith(" "):  # else the rest of a run that takes several lines
            style = _style(line)
        text.append(f"\n{line}", style=style)
    if shown < len(runs):
        text.append(f"\nand {len(runs) - shown} more", style="dim")
    return text


def _style(line: str) -> str:
    words = line.split()
    return next((style for state, style in _STYLES.items() if state in words), "")
