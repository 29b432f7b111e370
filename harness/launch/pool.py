"""Worker processes of the local scheduler: starting, feeding, hearing and killing them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness
from harness.store import Stage

_CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def available_cores() -> int:
    """Cores that this process may use: its affinity, and the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = _CGROUP_LIMIT.read_text().split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def thread_environment(threads: int) -> dict[str, str]:
    """Environment that gives a process ``threads`` threads for its arithmetic.

    It has to be there before the libraries are loaded. Sums depend on the number of threads in their last bits, so
    local and cluster runs pin the same one.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS")
    return {**dict.fromkeys(names, str(threads)), "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false"}


def python_path(snapshot: Path | None = None) -> str:
    """``PYTHONPATH`` with which another Python finds the very package that runs here, or a snapshot of it."""
    here = str(Path(harness.__file__).resolve().parent.parent)
    rest = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != here]
    return os.pathsep.join([str(snapshot or here), *rest])


class Worker:
    """One worker process. ``stage`` is what it was given and has not ended, else ``None``."""

    def __init__(self, threads: int, registry: Path | None) -> None:
        command = [sys.executable, "-P", "-u", "-m", "harness.launch.worker", "--parent", str(os.getpid())]
        if registry is not None:
            command += ["--registry", str(registry)]
        # -P: the folder that the user happens to be in is no place to import from.
        # What it prints outside of a stage; read only when it dies there.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **thread_environment(threads), "PYTHONPATH": python_path()},
            start_new_session=True,  # Ctrl-C reaches the scheduler alone, and a kill reaches the worker's children too
        )
        self._buffer = b""
        self.stage: Stage | None = None
        self.attempt = 0
        self.log: Path | None = None
        self.log_offset = 0
        self.given = 0
        """How many stages it was given."""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def fileno(self) -> int:
        """The descriptor that becomes readable when it has said something, or died."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def give(self, stage: Stage, spec: Path, presumed_dead: str) -> None:
        """Asks it to compute a stage; see ``Store.open``. A dead worker shows when it is read."""
        self.stage, self.attempt, self.log, self.log_offset = stage, 0, None, 0
        self.given += 1
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"spec": str(spec), "presumed_dead": presumed_dead}).encode() + b"\n")
            self._process.stdin.flush()

    @property
    def is_dead(self) -> bool:
        """Whether the process has ended; children that hold its pipe may hide that from ``hear``."""
        return self._process.poll() is not None

    def hear(self) -> Iterator[dict[str, Any]] | None:
        """The messages that have arrived; ``None`` when it is dead."""
        data = os.read(self.fileno(), 1 << 16)
        if not data:
            return None
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return iter([json.loads(line) for line in lines])

    def bury(self) -> str:
        """Collects a dead worker and says how it died."""
        self.kill()
        code = self._process.returncode
        if code >= 0:
            return f"the worker process ended with exit code {code}"
        name = signal.Signals(-code).name
        hint = ", perhaps for want of memory" if -code == signal.SIGKILL else ""
        return f"the worker process was killed by {name}{hint}"

    def last_words(self) -> str:
        """The end of what it printed outside of a stage."""
        with contextlib.suppress(OSError, ValueError):
            self._errors.seek(0)
            return self._errors.read()[-4096:].decode("utf-8", errors="replace").strip()
        return ""

    def kill(self) -> None:
        """Kills it, if it lives, with all its children, and waits for its end."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._close()

    def _close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
