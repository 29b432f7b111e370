"""One process at a time works on a stage, on one machine or many, with nothing but a shared folder.

A lease is a folder of numbered holdings. To take it, a process creates the next number with ``link`` (exclusive on
network file systems too); the highest number holds. It is never renamed or removed while the stage is unfinished, so a
slow process that judged an old holder dead cannot pull the lease from under a new one: it tries to create a number
that is taken, or finds a higher one. A holder that is done writes ``N.released``; when the stage is finished, the
folder goes.

A holder on this machine is dead when its process is. Any other is dead when its heartbeat, a counter that it rewrites
every few seconds, has not *changed* for a while on the watcher's own clock; and so is, after a longer while, one whose
process is there and does nothing (suspended, say). No modification times, no clocks compared across hosts, no
``flock``: none of them can be trusted on the file systems of clusters.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from dataclasses import dataclass, fields
from pathlib import Path

from harness.errors import HarnessError
from harness.store.atomic import create, storing
from harness.store.owner import Owner


@dataclass(frozen=True)
class Terms:
    """Seconds between heartbeats, and for how long an unchanged one is believed.

    ``patience_alive`` is for a holder whose process can be seen to exist. ``patience_same_job`` is for a holder with
    the scheduler job id of the process that asks: the scheduler has started the job again, so it takes the first run
    for dead, but the lost node may only have lost its network.
    """

    interval: float = 10.0
    patience: float = 120.0
    patience_alive: float = 600.0
    patience_same_job: float = 45.0
    poll: float = 0.5

    @classmethod
    def of(cls, root: Path) -> Terms:
        """The terms of a store: those of its ``lease.json``, for file systems slower than most, else the usual ones.

        All that work for a store read the same file. Raises ``HarnessError`` when it is not understood.
        """
        path = root / "lease.json"
        try:
            given = json.loads(path.read_bytes())
            return cls(**{name: float(seconds) for name, seconds in given.items()})
        except (FileNotFoundError, NotADirectoryError):
            return cls()
        except (OSError, ValueError, TypeError, AttributeError) as error:
            names = ", ".join(field.name for field in fields(cls))
            raise HarnessError(f"{path} cannot be read: {error}.", f"Give seconds by name: {names}.") from error


@dataclass(frozen=True)
class Held:
    """Somebody holds the lease: the holding's number, who, the last heartbeat and the (display only) time of it."""

    generation: int
    owner: Owner
    beat: int
    beat_time: float


class LeaseLost(HarnessError):
    """Another process has taken the lease over, because this one was silent for too long."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"Another process has taken over {what}: this one was silent for too long (suspended, or its file system "
            "hung).",
            "Nothing is lost; the other process finishes the work.",
        )


def holder(directory: Path) -> Held | None:
    """Who holds the lease in ``directory``, dead or alive; ``None`` when it is free.

    Raises ``OSError`` when that cannot be read now: a hiccup of the file system frees no lease.
    """
    latest = _latest(directory)
    if latest == 0 or (directory / f"{latest}.released").exists():
        return None
    try:
        owner = Owner.from_json(json.loads((directory / f"{latest}.json").read_bytes()))
    except (FileNotFoundError, ValueError):
        return None  # removed this moment, or emptied by a power cut: then its process is dead too
    beat, beat_time = 0, 0.0
    with contextlib.suppress(OSError, ValueError, IndexError):
        words = (directory / f"{latest}.beat").read_text().split()
        beat, beat_time = int(words[0]), float(words[1])
    return Held(latest, owner, beat, beat_time)


class Watch:
    """Tells, by being asked again and again, whether a lease can be taken.

    ``presumed_dead`` is the token of a holder elsewhere whose silence has been waited for, here or by who passes it.
    """

    def __init__(self, directory: Path, job: str, terms: Terms, presumed_dead: str = "") -> None:
        self._directory = directory
        self._job = job
        self._terms = terms
        self.presumed_dead = presumed_dead
        self._seen: tuple[str, int] | None = None
        self._since = 0.0
        self.has_stirred = False
        """Whether a heartbeat has come, or somebody has taken the lease, between two looks: so the holder lived."""
        self.last: Held | None = None
        """The living holder at the last look that could be taken."""

    def look(self) -> Held | None:
        """The living holder, or ``None`` when the lease is free or its holder is dead. Raises as ``holder`` does."""
        self.last = self._judge()
        return self.last

    def _judge(self) -> Held | None:
        held = holder(self._directory)
        if held is None:
            return None
        alive = held.owner.is_alive()
        if alive is False:
            return None
        if held.owner.token == self.presumed_dead:
            return None
        now = time.monotonic()
        if self._seen != (held.owner.token, held.beat):
            self.has_stirred = self._seen is not None
            self._seen = (held.owner.token, held.beat)
            self._since = now
        same_job = bool(self._job) and held.owner.job == self._job
        patience = self._terms.patience_same_job if same_job else self._terms.patience
        if alive:
            patience = self._terms.patience_alive
        if now - self._since < patience:
            return held
        self.presumed_dead = held.owner.token
        return None


class Lease:
    """The right to work on something, kept by a heartbeat until ``release`` or the end of the process."""

    def __init__(self, directory: Path, generation: int, owner: Owner, terms: Terms, what: str) -> None:
        self.directory = directory
        self.owner = owner
        self._generation = generation
        self._terms = terms
        self._what = what
        self._beat = 0
        self._lost = False
        self._ended = threading.Event()
        self._write_beat()
        self._thread = threading.Thread(target=self._keep, name=f"lease of {what}", daemon=True)
        self._thread.start()

    @classmethod
    def acquire(
        cls, directory: Path, what: str, terms: Terms, job: str = "", watch: Watch | None = None
    ) -> Lease | Held:
        """The lease, or who holds it. Pass the same ``watch`` when asking again, it remembers the heartbeats."""
        watch = watch or Watch(directory, job, terms)
        while True:
            try:
                latest = _latest(directory)
                held = watch.look()
            except OSError:
                if watch.last is None:
                    raise
                held = watch.last  # until the next look
            if held is not None:
                return held
            owner = Owner.current(job)
            with storing(directory):
                directory.mkdir(parents=True, exist_ok=True)
            # The number is the one seen *before* the holder was judged: had the lease changed hands since, it is taken.
            # The folder itself may go in between, when another process has just finished: look again.
            with contextlib.suppress(FileNotFoundError):
                number = latest + 1
                taken = create(directory / f"{number}.json", json.dumps(owner.to_json()).encode())
                if taken and _latest(directory) == number:
                    _forget(directory, below=number)
                    return cls(directory, number, owner, terms, what)

    def check(self) -> None:
        """Raises ``LeaseLost`` when the lease has been taken over."""
        if self._lost or self._ended.is_set() or _latest(self.directory) != self._generation:
            self._lost = True
            raise LeaseLost(self._what)

    def release(self, finished: bool = False) -> None:
        """Gives the lease up; with ``finished`` (its work can never be needed again) the folder goes too."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        if self._lost:
            return
        with contextlib.suppress(OSError, HarnessError):  # a dead holder is recognised as well
            if finished:
                shutil.rmtree(self.directory, ignore_errors=True)
            else:
                create(self.directory / f"{self._generation}.released", b"")

    def _keep(self) -> None:
        while not self._ended.wait(self._terms.interval):
            with contextlib.suppress(OSError):  # a hiccup of the file system; the next beat may pass
                if _latest(self.directory) != self._generation:
                    self._lost = True
                    return
                self._write_beat()

    def _write_beat(self) -> None:
        self._beat += 1
        # Rewritten in place, at a fixed width, and closed: network file systems show a closed file to the next opener,
        # while a renamed one can stay hidden behind a cached name. A torn read is harmless, only change counts.
        line = f"{self._beat:012d} {time.time():016.3f}\n".encode()
        with contextlib.suppress(OSError):
            descriptor = os.open(self.directory / f"{self._generation}.beat", os.O_WRONLY | os.O_CREAT, 0o666)
            try:
                os.pwrite(descriptor, line, 0)
            finally:
                os.close(descriptor)


def _forget(directory: Path, below: int) -> None:
    """Removes past holdings. The highest number, which decides, stays."""
    with contextlib.suppress(OSError):
        for path in directory.iterdir():
            if path.stem.isdecimal() and int(path.stem) < below:
                path.unlink(missing_ok=True)


def _latest(directory: Path) -> int:
    """The highest number in the folder, 0 when there is none."""
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    numbers = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    return max((int(number) for number in numbers if number.isdecimal()), default=0)
