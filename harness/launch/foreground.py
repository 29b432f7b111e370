"""One stage in this very process, for a person who looks at it: a traceback or a debugger has the executor's frames.

What comes of it is a result like any other, under the same lease, with the same records and log.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO, cast

from harness.launch.execution import give_up, give_up_interrupted, work
from harness.launch.pool import thread_environment
from harness.store import Busy, Record, Stage, Store, Workspace
from harness.store.workspace import Listener


def compute(
    store: Store,
    stage: Stage,
    *,
    threads: int = 1,
    registry: Path | None = None,
    listener: Listener | None = None,
    on_start: Callable[[Workspace], None] | None = None,
) -> Record:
    """Computes a stage unless it is done, and returns its record; what it prints is shown and goes to its log.

    ``threads`` are those of its arithmetic. Raises what the executor raises, after recording it as any attempt does;
    ``Busy`` where another process works on the stage and lives. A holder elsewhere that does not stir is waited for as
    long as the store's terms say.
    """
    workspace = store.open(stage, wait=False, presumed_dead=_silent(store, stage), listener=listener)
    if workspace.finished is not None:
        return workspace.finished
    if on_start is not None:
        on_start(workspace)
    try:
        with open(workspace.log, "a", encoding="utf-8", errors="replace") as log, _also_to(log), pinned(threads):
            try:
                work(workspace, registry=registry)
            except Exception:
                traceback.print_exc(file=log)
                raise
    except Exception as error:
        give_up(workspace, error)
        raise
    except BaseException as error:
        give_up_interrupted(workspace, error)
        raise
    assert workspace.finished is not None
    return workspace.finished


def _silent(store: Store, stage: Stage) -> str:
    """The token of a holder that is dead as far as this can be seen. Raises ``Busy`` for one that lives."""
    watch = store.watch(stage)
    first = held = watch.look()
    while held is not None:
        alive = held.owner.is_alive()
        if alive or first is None or (held.generation, held.beat) != (first.generation, first.beat):
            raise Busy(stage.id, held)
        time.sleep(store.terms.poll)
        held = watch.look()
    return watch.presumed_dead


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[None]:
    """So many threads for arithmetic, as workers have from their start: the last bits of sums depend on them."""
    from threadpoolctl import threadpool_limits

    wanted = thread_environment(threads)
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)  # for libraries that are loaded from now on
    torch = sys.modules.get("torch")  # else it reads the environment when it is loaded
    kept = torch.get_num_threads() if torch is not None else 0
    try:
        if torch is not None:
            torch.set_num_threads(threads)
        with threadpool_limits(threads):
            yield
    finally:
        if torch is not None:
            torch.set_num_threads(kept)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _Twice:
    """A stream that shows what is written to it and keeps it too; in all else it is the one that shows."""

    def __init__(self, shown: TextIO, kept: TextIO) -> None:
        self._shown = shown
        self._kept = kept

    def write(self, text: str) -> int:
        """Writes to both. A disk that is full keeps nobody from seeing."""
        with contextlib.suppress(OSError, ValueError):
            self._kept.write(text)
            self._kept.flush()
        return self._shown.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shown, name)


@contextlib.contextmanager
def _also_to(log: TextIO) -> Iterator[None]:
    before = sys.stdout, sys.stderr
    sys.stdout = cast(TextIO, _Twice(sys.stdout, log))
    sys.stderr = cast(TextIO, _Twice(sys.stderr, log))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
