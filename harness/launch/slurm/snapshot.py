"""The code as it was when a sweep was submitted: later edits do not reach jobs that wait in the queue."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import harness
from harness.launch.slurm import privacy

FOLDER = "code"
_DERIVED = shutil.ignore_patterns("__pycache__", "*.pyc")


def take(folder: Path) -> Path:
    """Copies the package that runs here below ``folder``, which only this user may enter, unless it is there already.

    Returns what ``PYTHONPATH`` has to name. The copy is called by its content: the same code is there once. Raises
    ``HarnessError`` where somebody else's folder, or an open one, lies in its place.
    """
    package = Path(harness.__file__).resolve().parent
    kept = folder / FOLDER
    if kept.resolve() in package.parents:
        return package.parent  # this is a job that runs a snapshot
    root = kept / _digest(package)
    try:
        privacy.require(root)
        os.utime(root)  # what was taken lately is not removed
    except FileNotFoundError:
        _copy(package, root)
    return root


def _copy(package: Path, root: Path) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    root.parents[1].chmod(0o700)
    beside = Path(tempfile.mkdtemp(prefix=".new-", dir=root.parent))
    try:
        shutil.copytree(package, beside / package.name, ignore=_DERIVED)
        os.rename(beside, root)
    except OSError:
        shutil.rmtree(beside, ignore_errors=True)
        if not root.exists():  # else another driver was quicker
            raise


def _digest(package: Path) -> str:
    sums = hashlib.sha256()
    for path in sorted(_files(package)):
        sums.update(f"{path.relative_to(package)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return sums.hexdigest()[:16]


def _files(package: Path) -> Iterator[Path]:
    return (p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts and p.suffix != ".pyc")
