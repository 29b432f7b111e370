"""Copies of data and weights on a node's own disk, so that a thousand jobs do not read them through the network.

::

    SCRATCH/harness-UID/KEY        a copy of a folder; KEY stands for what it holds

What fits is copied by the first job on a node that needs it, and stays for those after it; the rest is read where it
lies. Nothing is removed: another job may be reading it, and a node's scratch is its cluster's to clear.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harness.data.manifest import MANIFEST, Manifest
from harness.errors import HarnessError
from harness.store import Stage

SCRATCH = "HARNESS_SCRATCH"
"""Environment variable of a job with the folder of the node that it may fill."""

KEPT_FREE = 0.1  # share of the disk that is left to others
WEIGHTS = ("vision", "language", "adapter", "model")
"""Roles of backbones among a stage's locations and digests."""


def stage_in(stage: Stage, scratch: str) -> Stage:
    """The same stage, told to read copies on this node of the folders that it is given, as far as they fit.

    Never raises: without a copy the original is read. What was copied is checked by its readers like the original. An
    embedded world is not copied; it lies in the user's cache and is small.
    """
    roles = [role for role in WEIGHTS if role in stage.digests and role in stage.location]
    if "data" in stage.location and "world" not in stage.location:
        roles.append("data")
    copies = {}
    with contextlib.suppress(OSError):
        folder = Path(scratch) / f"harness-{os.getuid()}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            return stage  # somebody else's, who could fill it with anything
        for role in roles:
            copy = _copy(stage, role, folder)
            if copy is not None:
                copies[role] = str(copy)
    return replace(stage, location={**stage.location, **copies})


def _copy(stage: Stage, role: str, folder: Path) -> Path | None:
    source = Path(stage.location[role])
    target = folder / hashlib.sha256(f"{role} {stage.digests[role]}".encode()).hexdigest()[:24]
    beside: Path | None = None
    try:
        with _alone(folder):  # one job copies, those beside it wait for it
            if target.is_dir():
                return target
            if not source.is_dir() or not _fits(source, folder):
                return None
            beside = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
            copy = Path(shutil.copytree(source, beside / "copy"))
            if role == "data" and not (copy / MANIFEST).exists():
                manifest = Manifest.load(source, Path(stage.location["manifests"]))
                if manifest is None:
                    return None
                manifest.store(copy)
            os.rename(copy, target)
            return target
    except (OSError, shutil.Error, HarnessError):
        return None
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)


def _fits(source: Path, folder: Path) -> bool:
    disk = shutil.disk_usage(folder)
    size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    return size + disk.total * KEPT_FREE <= disk.free


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Between the jobs of one node, whose own disk has working locks."""
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
