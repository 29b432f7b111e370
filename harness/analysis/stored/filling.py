"""Fills the derived cache of a store with many stages in several processes, one a core.

Reading ten thousand runs for the first time is a minute of decoding and checksums, most of it under the interpreter's
lock. The processes write what they read as segments of the cache; what one cannot read, it leaves out, and whoever
needs it meets the error. They are told what to read on their standard input and print nothing.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import harness
from harness.analysis.stored.score_cache import ScoreCache
from harness.analysis.stored.stage_files import StageFiles
from harness.errors import HarnessError
from harness.store import Store

MOST_PROCESSES = 8

_AT_ONCE = 2048
"""Stages between two segments: an interrupted command goes on there, and memory stays bounded."""

Work = tuple[str, str, str, bool]
"""A stage's id, the digest that its record must have, the seal of the record, and whether its scores are wanted."""


def fill(root: Path, work: Sequence[Work]) -> None:
    """Keeps as many of these stages as can be read in the cache of the store at ``root``."""
    processes = min(MOST_PROCESSES, _cores())
    paths = [str(Path(harness.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    started: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(processes):
            line = [sys.executable, "-m", __name__, str(root)]
            process = subprocess.Popen(line, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
            started.append(process)
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
                pipe.write(json.dumps(work[number::processes]).encode())
        for process in started:
            process.wait()
    except OSError:
        pass  # no processes to be had: what is not kept is read here
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait()


def read(root: Path, work: Sequence[Work]) -> None:
    """What each of the processes does."""
    store = Store(root)
    store.survey()
    files, cache = StageFiles(store), ScoreCache(root, is_empty=True)
    for number, (stage_id, digest, seal, scored) in enumerate(work, 1):
        with contextlib.suppress(HarnessError, OSError):
            record = store.record(stage_id)
            if record is not None and record.digest == digest:
                found = files.read(record, scored)
                cache.add(stage_id, seal, found.facts, found.scores)
        if number % _AT_ONCE == 0:
            cache.save()
    cache.save()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    gc.disable()
    read(Path(sys.argv[1]), json.load(sys.stdin.buffer))
