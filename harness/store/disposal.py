"""Removes garbage from a store that others may be using, in a way that may be cut off at any moment.

A thing is first renamed into ``ROOT/trash``, in one step, and only there taken apart: what lies in its place is whole
or gone. What belongs to a stage is moved under the stage's lease, after a look whether it is still garbage.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HarnessError
from harness.store import atomic, record
from harness.store.batches import Batches
from harness.store.garbage import TRASH, Garbage, Item, file_system_time, is_old
from harness.store.lease import Held, Lease, Watch
from harness.store.store import Store


@dataclass
class Disposal:
    """What became of the items: ``removed``; ``kept``, because they are no garbage any more; ``refused``, with why."""

    removed: list[Item] = field(default_factory=list)
    kept: list[Item] = field(default_factory=list)
    refused: list[tuple[Item, str]] = field(default_factory=list)


def dispose(store: Store, garbage: Garbage, named: Callable[[], Collection[str]]) -> Disposal:
    """Removes what was found. ``named`` tells once more which stages are named, when nobody can submit any.

    While things are moved away nobody submits to a scheduler; they are taken apart afterwards. Much may have happened
    since they were found: workers elsewhere were waited for.
    """
    disposal = Disposal()
    trash = store.root / TRASH / uuid.uuid4().hex[:12]
    of_stages: dict[str, list[Item]] = {}
    for item in garbage.items:
        of_stages.setdefault(item.stage, []).append(item)
    others = of_stages.pop("", [])
    with store.exclusive("submission"):
        still_named = named()
        with atomic.storing(trash):
            trash.mkdir(parents=True)
        for stage_id, items in of_stages.items():
            _move_of_stage(store, stage_id, items, trash, still_named, garbage.silent.get(stage_id, ""), disposal)
        batches, now = Batches(store.root), file_system_time(store.root)
        for item in others:
            if item.kind == "trash":
                continue
            if _is_needed_again(store, batches, item, still_named, now):
                disposal.kept.append(item)
                continue
            if item.kind == "batches":
                batches.retire(item.path.name)
            _move(item, trash, disposal)
        _settle(trash, disposal.removed)
    _empty(store.root / TRASH, [item for item in others if item.kind == "trash"], disposal)
    return disposal


def _move_of_stage(
    store: Store,
    stage_id: str,
    items: Iterable[Item],
    trash: Path,
    named: Collection[str],
    silent: str,
    disposal: Disposal,
) -> None:
    folder = store.root / "leases" / stage_id
    watch = Watch(folder, "", store.terms, silent)
    try:
        lease = Lease.acquire(folder, f"stage {stage_id}", store.terms, watch=watch)
    except (OSError, HarnessError) as error:
        disposal.refused += [(item, str(error)) for item in items]
        return
    if isinstance(lease, Held):
        disposal.kept += items
        return
    is_over = False
    try:
        for item in items:
            if not _is_garbage(store, item, named):
                disposal.kept.append(item)
            elif item.kind == "leases":
                disposal.removed.append(item)  # it goes when it is released
            else:
                _move(item, trash, disposal)
        # Whoever waits for the lease of a folder that has gone makes both anew.
        is_over = not _has_folder(store, stage_id) or _is_done(store, stage_id)
    finally:
        lease.release(finished=is_over)


def _is_garbage(store: Store, item: Item, named: Collection[str]) -> bool:
    """Whether it still is, now that nobody else works on its stage."""
    if item.kind in ("orphans", "unnamed"):
        is_done = (item.path / record.NAME).exists()
        return item.stage not in named and is_done is (item.kind == "unnamed")
    if item.kind == "scratch":
        return (item.path.parent / record.NAME).exists()
    if item.kind == "leases":
        return not _has_folder(store, item.stage) or _is_done(store, item.stage)
    return True


def _is_needed_again(store: Store, batches: Batches, item: Item, named: Collection[str], now: float) -> bool:
    """Whether what belongs to no stage has been taken into use since it was found, now that nobody submits."""
    if item.kind == "code":
        return not is_old(item.path, now)  # who is about to submit has touched it
    if item.kind == "batches":
        batch = batches.get(item.path.name)
        return batch is not None and any(s in named and not _is_done(store, s) for s in batch.tasks.values())
    return item.kind == "temporary" and (item.path / "batch.json").exists()  # a batch that was being written


def _has_folder(store: Store, stage_id: str) -> bool:
    return store.find(stage_id) is not None


def _is_done(store: Store, stage_id: str) -> bool:
    folder = store.find(stage_id)
    return folder is not None and (folder / record.NAME).exists()


def _move(item: Item, trash: Path, disposal: Disposal) -> None:
    try:
        os.rename(item.path, trash / f"{len(disposal.removed)}-{item.path.name.lstrip('.')}")
    except FileNotFoundError:
        disposal.kept.append(item)  # another one was faster
    except OSError as error:
        disposal.refused.append((item, error.strerror or str(error)))
    else:
        disposal.removed.append(item)


def _settle(trash: Path, removed: Iterable[Item]) -> None:
    """Makes the renames survive a power cut, before anything is taken apart."""
    for folder in {trash, trash.parent, *(item.path.parent for item in removed)}:
        with contextlib.suppress(OSError):
            atomic.sync_directory(folder)


def _empty(trash: Path, left: Iterable[Item], disposal: Disposal) -> None:
    """Takes apart what was moved away, now and by removals that were cut off."""
    shutil.rmtree(trash, ignore_errors=True)
    for item in left:
        if item.path.exists():
            disposal.refused.append((item, "it could not be removed"))
        else:
            disposal.removed.append(item)
