from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.store import Stage, Store, Terms


@pytest.fixture
def terms() -> Terms:
    """Heartbeats and patience at a test's pace."""
    return Terms(interval=0.05, patience=0.6, patience_same_job=0.3, poll=0.02)


@pytest.fixture
def store(tmp_path: Path, terms: Terms) -> Store:
    return Store(tmp_path / "store", terms)


@pytest.fixture
def stage() -> Stage:
    return Stage("train", 1, {"steps": 3, "rate": {"vision": 1e-4}}, digests={"data": "d" * 64}, slug="tokens=36")


Script = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def script() -> Iterator[Script]:
    """Starts a Python script in another process; it says ``ready`` when it is. Killed when the test ends."""
    processes: list[subprocess.Popen[str]] = []

    def start(text: str, *arguments: object, wait: bool = True) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", text, *map(str, arguments)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        processes.append(process)
        if wait:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB, where we may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=777", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
