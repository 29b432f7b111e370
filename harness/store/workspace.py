"""What an executor works in: the folder of its stage, while it holds the stage's lease."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from harness.errors import HarnessError
from harness.store import atomic, record
from harness.store.attempts import FAILED, FINISHED, Attempt, now, update
from harness.store.encoding import reportable
from harness.store.lease import Lease
from harness.store.provenance import core_seconds, provenance
from harness.store.record import Outcome, Record
from harness.store.stage import Stage

if TYPE_CHECKING:
    from harness.store.store import Store

REPORT_SECONDS = 1.0  # between two writes of progress.json

Listener = Callable[[Mapping[str, Any]], None]

_log = logging.getLogger(__name__)


class Workspace:
    """An open stage: given to ``run(workspace)``, which resumes from whatever lies here and calls ``finish`` last.

    ``finished`` is the record of a stage that was already done when it was opened (then there is nothing to do, and
    nothing can be written), else ``None``. As a context manager it gives the lease up on leaving and records a failure
    when the body raised or never called ``finish``.

    Files lie in ``directory``; all but hidden ones count as outputs when ``finish`` is called. What is needed only to
    resume (checkpoints) belongs in ``scratch``, which goes when the stage is finished.
    """

    def __init__(
        self,
        store: Store,
        stage: Stage,
        directory: Path,
        finished: Record | None,
        lease: Lease | None,
        attempt: Attempt | None,
        spent: float = 0.0,
        listener: Listener | None = None,
    ) -> None:
        self.stage = stage
        self.directory = directory
        self.finished = finished
        self._store = store
        self._lease = lease
        self._attempt = attempt
        self._spent = spent  # core-seconds of earlier attempts
        self._listener = listener
        self._began = time.monotonic()
        self._core_began = core_seconds()
        self._reported = float("-inf")
        self._first: dict[str, Any] = {}  # report of this attempt
        self.processes = 1
        """How many work on the stage, in step: their processor time is this one's times their number."""
        self.has_batches = False
        """Whether ``within_memory`` was asked: only then can another attempt do with less memory."""

    def __repr__(self) -> str:
        return f"Workspace({self.stage}, {self.directory})"

    @property
    def root(self) -> Path:
        """The store's folder."""
        return self._store.root

    @property
    def log(self) -> Path:
        """The stage's log; what an executor prints goes there."""
        return self.directory / "log.txt"

    @property
    def scratch(self) -> Path:
        """A folder for what only helps to resume: kept from attempt to attempt, removed when the stage is finished."""
        folder = self.directory / "scratch"
        with atomic.storing(folder):
            folder.mkdir(exist_ok=True)
        return folder

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._attempt.number if self._attempt else 0

    def within_memory(self, batch: int) -> int:
        """A batch size halved as often as earlier attempts ran out of memory; the stage's record then tells it.

        Raises ``HarnessError`` when the last of them had a batch of one already.
        """
        self.has_batches = True
        relief = self._attempt.relief if self._attempt else 0
        if relief and batch >> (relief - 1) <= 1:
            raise HarnessError(
                f"Stage {self.stage} does not fit into memory, even one sample at a time.",
                "Give it more memory (`cluster.memory_gb`, another GPU), `runtime.gradient_checkpointing`, or less to "
                "do: smaller images, fewer visual tokens, shorter documents.",
            )
        return max(1, batch >> relief)

    def input(self, role: str) -> Path:
        """The folder of the finished stage that fills ``role``, its outputs verified on the first read."""
        if role not in self.stage.inputs:
            known = ", ".join(sorted(self.stage.inputs)) or "none"
            raise KeyError(f"stage {self.stage} has no input {role!r} (it has: {known})")
        return self._store.outputs(self.stage.inputs[role]).directory

    def path(self, name: str | os.PathLike[str]) -> Path:
        """The path of a file or folder in the stage's folder; refuses what would lie outside of it."""
        given = Path(name)
        inner = PurePosixPath(given.relative_to(self.directory) if given.is_absolute() else given)
        if ".." in inner.parts or not inner.parts:
            raise HarnessError(f"{name!r} does not lie in the folder of stage {self.stage}.")
        if inner.parts[0] in record.BESIDE - {"scratch"}:
            raise HarnessError(f"{inner.parts[0]!r} in the folder of stage {self.stage} is kept by the store itself.")
        path = self.directory / inner
        if not path.parent.resolve().is_relative_to(self.directory.resolve()):
            raise HarnessError(f"{path} leads out of the folder of stage {self.stage} through a link.")
        return path

    def write_bytes(self, name: str | os.PathLike[str], data: bytes) -> Path:
        """Writes a file in one step (a kill leaves the old one or the new one) and returns its path."""
        path = self._for_writing(name)
        atomic.write_bytes(path, data)
        return path

    def write_json(self, name: str | os.PathLike[str], value: Any) -> Path:
        """Writes JSON in one step and returns its path. Numbers that are not finite become ``null``."""
        path = self._for_writing(name)
        atomic.write_json(path, value)
        return path

    @contextlib.contextmanager
    def replace_directory(self, name: str | os.PathLike[str]) -> Iterator[Path]:
        """``with workspace.replace_directory("model") as folder:`` fill the empty folder; it then becomes ``name``.

        On an error, or a kill at any moment, the folder of before is what the next attempt finds.
        """
        with atomic.replace_directory(self._for_writing(name)) as folder:
            yield folder

    def report(self, **progress: Any) -> None:
        """Tells how far the work is (``step=…, steps=…, loss=…``); cheap enough to be called at every step.

        ``progress.json`` also tells how many seconds into the attempt this was, and the ``first`` report of it.
        """
        value = reportable(progress)
        if self._listener is not None:
            self._listener(value)
        moment = time.monotonic()
        if moment - self._reported < REPORT_SECONDS:
            return
        self._reported = moment
        self._check()
        # Seconds by this machine's own clock: whoever reads them elsewhere can tell a speed without a clock of his own.
        wall = moment - self._began
        self._first = self._first or {"wall_seconds": wall, "progress": value}
        spent = {
            "attempt": self.attempt,
            "time": now(),
            "wall_seconds": wall,
            "core_seconds": self._core_seconds(),
            "first": self._first,
        }
        try:
            atomic.write_json(self.directory / "progress.json", {**spent, "progress": value}, durable=False)
        except (OSError, HarnessError) as error:  # a work of hours does not end for want of a progress bar
            _log.warning("progress.json was not written: %s", error)

    def finish(self, outcome: Outcome = "complete", summary: Mapping[str, Any] | None = None) -> Record:
        """Seals the stage: checksums of all outputs, then ``done.json``. ``outcome`` is ``complete`` or ``diverged``.

        Nothing can be written afterwards.
        """
        if outcome not in record.OUTCOMES:
            raise ValueError(f"outcome: {outcome!r} is not one of {', '.join(record.OUTCOMES)}")
        attempt = self._check()
        if attempt.relief:
            summary = {**(summary or {}), "batch_halved": attempt.relief}
        wall, core = time.monotonic() - self._began, self._core_seconds()
        with atomic.storing(self.directory):
            outputs = record.digest_outputs(self.directory)
            self._check()  # digests of large files take a while
            self.finished = record.write(
                self.directory,
                Record(
                    id=self.stage.id,
                    digest=self.stage.digest,
                    outcome=outcome,
                    summary=reportable(summary or {}),
                    outputs=outputs,
                    attempt=attempt.number,
                    finished=now(),
                    wall_seconds=round(wall, 3),
                    core_seconds=round(core, 3),
                    total_core_seconds=round(core + self._spent, 3),
                    provenance=provenance(),
                ),
            )
        # From here on the stage is done, whatever happens to the tidying up.
        with contextlib.suppress(OSError, HarnessError):
            self._end(FINISHED)
        shutil.rmtree(self.directory / "scratch", ignore_errors=True)
        with contextlib.suppress(OSError):
            (self.directory / "progress.json").unlink()
        self._release(finished=True)
        return self.finished

    def fail(self, reason: str, retryable: bool = False, out_of_memory: bool = False) -> None:
        """Records that this attempt failed and gives the stage up; what it wrote stays for the next attempt."""
        if self._attempt is None:
            return
        with contextlib.suppress(OSError, HarnessError):  # on a full disk the reason travels by other ways
            self._end(FAILED, reason, retryable, out_of_memory)
        self._release()

    def close(self) -> None:
        """Gives the stage up, if it is still held."""
        if self.finished is None:
            self.fail("ended without calling finish()")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self.finished is None:
            self.fail(f"{type(error).__name__}: {error}")
        self.close()

    def _for_writing(self, name: str | os.PathLike[str]) -> Path:
        self._check()
        path = self.path(name)
        with atomic.storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _check(self) -> Attempt:
        """The running attempt; raises when the stage is finished, closed, or has been taken over."""
        if self._lease is None or self._attempt is None:
            state = "is finished" if self.finished else "is not, or no longer, held by this process"
            raise RuntimeError(f"stage {self.stage} {state}; nothing can be written to it")
        self._lease.check()
        return self._attempt

    def _end(self, state: str, reason: str = "", retryable: bool = False, out_of_memory: bool = False) -> None:
        if self._attempt is not None:
            ended = replace(
                self._attempt,
                state=state,
                reason=reason,
                retryable=retryable,
                out_of_memory=out_of_memory,
                ended=now(),
                wall_seconds=round(time.monotonic() - self._began, 3),
                core_seconds=round(self._core_seconds(), 3),
            )
            update(self.directory, ended)

    def _core_seconds(self) -> float:
        own, children = (now - began for now, began in zip(core_seconds(), self._core_began, strict=True))
        # Other ranks are children too, and may have worked on other stages.
        return own + children if self.processes == 1 else own * self.processes

    def _release(self, finished: bool = False) -> None:
        lease, self._lease, self._attempt = self._lease, None, None
        if lease is not None:
            lease.release(finished)
