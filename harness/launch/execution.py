"""One attempt at one stage, in a process that was started for it: the same for local workers and Slurm jobs."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from harness.distributed.failures import RankLost
from harness.errors import HarnessError
from harness.launch import executors
from harness.store import Busy, Held, LeaseLost, Stage, StorageFull, Store, Workspace, is_storage_full
from harness.store.workspace import Listener

TAIL_LINES = 20
TAIL_BYTES = 8192

# Hiccups of a network or a network file system; another attempt may fare better.
_PASSING = {
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ECONNRESET,
    errno.ECONNREFUSED,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.EREMOTEIO,
    errno.EAGAIN,
}


# How torch says so where it has no class for it: its allocator of host memory, and libraries on a GPU.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "Cannot allocate memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "not enough memory",
)


@dataclass(frozen=True)
class Execution:
    """How an attempt ended: ``finished``, ``reused`` (it was done already), ``held`` by another run, or ``failed``.

    ``out_of_memory``: the next attempt, if it is worth one, works with smaller batches (``Workspace.within_memory``).
    ``foreseen``: the reason says all that a user needs, the end of the log would add a traceback to it.
    """

    state: Literal["finished", "reused", "held", "failed"]
    outcome: str = ""
    reason: str = ""
    retryable: bool = False
    storage_full: bool = False
    out_of_memory: bool = False
    foreseen: bool = False


def execute(
    store: Store,
    stage: Stage,
    *,
    registry: Path | None = None,
    job: str = "",
    wait: bool = True,
    presumed_dead: str = "",
    listener: Listener | None = None,
    on_start: Callable[[Workspace], None] | None = None,
    on_wait: Callable[[Held], None] | None = None,
    together: Callable[[Workspace], AbstractContextManager[None]] | None = None,
) -> Execution:
    """Computes a stage unless it is done, and says how that went; errors of the stage are returned, not raised.

    The arguments are those of ``Store.open``; ``on_start`` is told when the stage is ours. While the executor runs,
    standard output and error go to the stage's log. ``together`` brings in the stage's other ranks, once the stage is
    ours and for as long as it is computed. ``SystemExit`` and ``KeyboardInterrupt`` are passed on after the
    stage has been given up.
    """
    try:
        workspace = store.open(
            stage, wait=wait, job=job, presumed_dead=presumed_dead, listener=listener, on_wait=on_wait
        )
    except Busy as busy:
        return Execution("held", reason=str(busy.held.owner))
    except Exception as error:
        return failure(error, store.root)
    if workspace.finished is not None:
        return Execution("reused", outcome=workspace.finished.outcome)
    if on_start is not None:
        on_start(workspace)
    try:
        with printing_to(workspace.log):
            try:
                with together(workspace) if together is not None else contextlib.nullcontext():
                    work(workspace, job, registry)
            except Exception:
                with contextlib.suppress(OSError):
                    traceback.print_exc()
                raise
    except Exception as error:
        return give_up(workspace, error)
    except BaseException as error:
        give_up_interrupted(workspace, error)
        raise
    assert workspace.finished is not None
    return Execution("finished", outcome=workspace.finished.outcome)


def work(workspace: Workspace, job: str = "", registry: Path | None = None) -> None:
    """Computes an open stage, here and now, printing where this process prints. Raises what its executor raises."""
    _print_heading(workspace, job)
    executors.load(workspace.stage.kind, registry)(workspace)
    if workspace.finished is None:
        raise RuntimeError(f"the executor of {workspace.stage.kind!r} returned without calling finish()")


def give_up(workspace: Workspace, error: Exception) -> Execution:
    """Records that an attempt failed, gives the stage up, and says what that means."""
    if isinstance(error, LeaseLost):
        workspace.fail(str(error), retryable=True)
        return Execution("held", reason=error.message)
    failed = failure(error, workspace.directory)
    if failed.out_of_memory and not workspace.has_batches:  # the next attempt would need as much
        failed = replace(failed, retryable=False)
    workspace.fail(failed.reason, failed.retryable, failed.out_of_memory)
    return failed


def give_up_interrupted(workspace: Workspace, error: BaseException) -> None:
    """Records that an attempt was ended from outside, and gives the stage up; the next one resumes."""
    workspace.fail(f"interrupted ({type(error).__name__})", retryable=True)


def failure(error: Exception, place: Path) -> Execution:
    """What an error means for the stage that met it while writing to ``place``."""
    if is_storage_full(error):
        full = error if isinstance(error, StorageFull) else StorageFull(place)
        return Execution("failed", reason=full.message, retryable=True, storage_full=True, foreseen=True)
    if isinstance(error, RankLost):
        wants = error.out_of_memory, error.storage_full
        return Execution("failed", "", error.reason, error.retryable, out_of_memory=wants[0], storage_full=wants[1])
    hungry = next((each for each in _with_causes(error) if is_out_of_memory(each)), None)
    if hungry is not None:
        reason = f"out of memory: {(str(hungry).strip().splitlines() or ['the machine has no more'])[0]}"
        return Execution("failed", reason=reason, retryable=True, out_of_memory=True)
    if isinstance(error, HarnessError):
        return Execution("failed", reason=str(error), foreseen=True)
    retryable = isinstance(error, OSError) and error.errno in _PASSING
    text = str(error).strip().splitlines()
    return Execution("failed", reason=": ".join([type(error).__name__, *text[:1]]), retryable=retryable)


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it was raised from: a file that found no memory is told as one that cannot be read."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, the machine's or a GPU's, was what an error wanted for."""
    words = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's, without importing it
        or (isinstance(error, RuntimeError | OSError) and any(each in words for each in _OUT_OF_MEMORY))
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    )


def log_tail(log: Path, offset: int = 0) -> str:
    """The last lines of a log, nothing from before ``offset``."""
    try:
        with open(log, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(offset, size - TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-TAIL_LINES:])


def _print_heading(workspace: Workspace, job: str) -> None:
    where = f"job {job}, process {os.getpid()}" if job else f"process {os.getpid()}"
    with contextlib.suppress(OSError):
        print(f"=== attempt {workspace.attempt} at {workspace.stage} ({where})", flush=True)


@contextlib.contextmanager
def printing_to(log: Path) -> Iterator[None]:
    """Sends file descriptors 1 and 2 to a log: also what C code and dying interpreters print belongs there."""
    _flush()
    kept = os.dup(1), os.dup(2)
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    try:
        yield
    finally:
        _flush()
        for number, descriptor in zip((1, 2), kept, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
