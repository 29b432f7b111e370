"""What lies in a store and nobody needs: found here, removed by ``store.disposal``. Finding changes nothing.

Nothing is garbage that a living process may use, and no finished stage that is named. Stages are told by their leases;
what is written without one, by its age on the file system's own clock.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.errors import HarnessError
from harness.store import record
from harness.store.batches import Batch
from harness.store.stage import ID_LENGTH, is_stage_id
from harness.store.store import Store
from harness.store.workers import OnWait, busy

Kind = Literal["scratch", "orphans", "unnamed", "temporary", "leases", "batches", "code", "damaged", "trash"]

KINDS: Mapping[Kind, str] = {
    "scratch": "checkpoints of finished stages",
    "orphans": "unfinished stages that no sweep names",
    "unnamed": "finished stages that no sweep names",
    "temporary": "files that a killed process left half written",
    "leases": "leases of finished stages",
    "batches": "job arrays that have ended, their stages finished",
    "code": "snapshots of the code that no job runs",
    "damaged": "stages that --repair has set aside",
    "trash": "what an earlier removal left",
}

TEMPORARY_SECONDS = 86_400.0  # a writer needs its temporary file for seconds; a suspended one may wake after hours
TRASH = "trash"


@dataclass(frozen=True)
class Item:
    """A file or folder that can go: its kind, where it lies, its bytes, and the stage it belongs to, if any."""

    kind: Kind
    path: Path
    size: int
    stage: str = ""


@dataclass(frozen=True)
class Garbage:
    """What was found. ``busy``: stages with something to remove that somebody may be working on; it is kept.

    ``silent``: tokens of the holders of leases that were waited for and did not stir, by stage.
    """

    items: tuple[Item, ...]
    busy: frozenset[str] = frozenset()
    silent: Mapping[str, str] = field(default_factory=dict)


def find(
    store: Store,
    named: Collection[str],
    ended: Iterable[Batch] = (),
    code: Iterable[Path] = (),
    on_wait: OnWait = lambda number, seconds: None,
) -> Garbage:
    """All garbage of a store. ``named``: the ids of stages that sweeps, or batches that are kept, name or read.

    ``ended``: batches that no job needs any more; ``code``: snapshots that none names. Holders elsewhere that are
    silent are waited for as long as the store's terms say (``on_wait`` is told).
    """
    leases, leased = store.root / "leases", store.leased()
    now = file_system_time(store.root)
    folders = list(_stage_folders(store.root))
    of_stages = [item for folder in folders for item in _of_stage(folder, named, leased, now)]
    known = {folder.name[-ID_LENGTH:] for folder in folders}
    of_stages += [_item("leases", leases / stage_id, stage_id) for stage_id in sorted(leased - known)]
    concerned = dict.fromkeys(item.stage for item in of_stages if item.stage)
    living, silent = busy(leases, [stage_id for stage_id in concerned if stage_id in leased], store.terms, on_wait)
    kept = living | _inputs(store, living)
    others = [
        *(_item("batches", batch.folder) for batch in ended),
        *(_item("code", path) for path in code if is_old(path, now)),  # else jobs may be about to be submitted
        *(_item("temporary", path) for path in _half_written_batches(store.root)),
        *_temporary(store.root, now),
        *(_item("damaged", path) for path in _entries(store.root / "damaged") if (path / "damaged.json").exists()),
        *(_item("trash", path) for path in _entries(store.root / TRASH)),
    ]
    return Garbage(
        tuple([item for item in of_stages if item.stage not in kept] + others), frozenset(living), dict(silent)
    )


def _inputs(store: Store, stage_ids: Iterable[str]) -> set[str]:
    """What the given stages read."""
    found: set[str] = set()
    for stage_id in stage_ids:
        with contextlib.suppress(HarnessError):  # damaged, or gone this moment
            found.update(store.stage(stage_id).inputs.values())
    return found


def _of_stage(folder: Path, named: Collection[str], leased: Collection[str], now: float) -> Iterator[Item]:
    """What can go of one stage, or all of it."""
    stage_id = folder.name[-ID_LENGTH:]
    if not is_stage_id(stage_id):
        return
    entries = set(_names(folder))
    is_done = record.NAME in entries
    if stage_id not in named:
        # Its lease goes with it.
        yield _item("unnamed" if is_done else "orphans", folder, stage_id)
        return
    if is_done and "scratch" in entries:
        yield _item("scratch", folder / "scratch", stage_id)
    if is_done and stage_id in leased:
        yield _item("leases", folder.parents[2] / "leases" / stage_id, stage_id)
    for path in (*(folder / name for name in entries), *_entries(folder / "attempts")):
        if not is_temporary(path.name):
            continue
        if not path.name.startswith(".stage."):
            yield _item("temporary", path, stage_id)
        elif is_old(path, now):  # written without a lease
            yield _item("temporary", path)


def is_temporary(name: str) -> bool:
    """Whether a file may be half written; see ``store.atomic``."""
    return name.startswith(".") and name.endswith(".tmp")


def _temporary(root: Path, now: float) -> Iterator[Item]:
    """Half-written files outside of stages, which are written without a lease."""
    places = [root / name for name in ("names", "leases", "batches", "sweeps", "runs", "cache", "imported")]
    for place in places:
        for folder, folders, files in os.walk(place, followlinks=False):
            for name in [*folders, *files]:
                path = Path(folder, name)
                if is_temporary(name) and is_old(path, now):
                    yield _item("temporary", path)
            folders[:] = [name for name in folders if not is_temporary(name)]
    for path in _entries(root):
        if is_temporary(path.name) and is_old(path, now):
            yield _item("temporary", path)


def _half_written_batches(root: Path) -> Iterator[Path]:
    """Batches of drivers that died before they asked the scheduler. While somebody submits they may be his."""
    for path in _entries(root / "batches"):
        if path.is_dir() and not (path / "batch.json").exists():
            yield path


def is_old(path: Path, now: float) -> bool:
    """Whether nobody has written or touched it for so long that nobody will go on."""
    try:
        return now - os.lstat(path).st_mtime > TEMPORARY_SECONDS
    except OSError:
        return False


def file_system_time(root: Path) -> float:
    """What time it is for the file system, whose clock may be another one than this machine's."""
    with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=root) as probe:
        return os.fstat(probe.fileno()).st_mtime
    return time.time()


def _stage_folders(root: Path) -> Iterator[Path]:
    for kind in _entries(root / "stages"):
        for folder in _entries(kind):
            if folder.is_dir() and not folder.is_symlink() and not folder.name.startswith("."):
                yield folder


def _entries(folder: Path) -> list[Path]:
    return [folder / name for name in _names(folder)]


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _item(kind: Kind, path: Path, stage: str = "") -> Item:
    return Item(kind, path, size(path), stage)


def size(path: Path) -> int:
    """The bytes of a file, or of all files below a folder; links are not followed."""
    try:
        found = os.lstat(path)
    except OSError:
        return 0
    if not stat.S_ISDIR(found.st_mode):
        return found.st_size
    return sum(size(entry) for entry in _entries(path))
