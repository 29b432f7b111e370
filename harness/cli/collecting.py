"""``harness gc``: what a results folder no longer needs, listed or removed."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from harness.cli.entry import ERROR
from harness.cli.waiting import say_waiting
from harness.errors import HarnessError
from harness.launch.slurm import leftovers
from harness.plan.sweeps import named_stages
from harness.report.layout import columns
from harness.report.quantities import count, quantity
from harness.store import Store
from harness.store.disposal import Disposal, dispose
from harness.store.garbage import KINDS, Garbage, Item, find

SHOWN = 5


def collect(results: Path, delete: bool, unnamed: bool, as_json: bool) -> int:
    """Lists what can go, or with ``delete`` removes it; finished stages that no sweep names only with ``unnamed``."""
    if not results.is_dir():
        raise HarnessError(f"there is no results folder {results}", "Check --results.")
    store = Store(results)
    found = _find(store)
    wanted = [item for item in found.items if unnamed or item.kind != "unnamed"]
    disposal: Disposal | None = None
    if delete:
        chosen = Garbage(tuple(wanted), found.busy, found.silent)
        disposal = dispose(store, chosen, lambda: _named(Store(results))) if wanted else Disposal()
    if as_json:
        print(json.dumps(to_json(found, wanted, disposal), indent=2, ensure_ascii=False))
    else:
        print("\n".join(text(results, found, wanted, disposal)))
    refused = disposal.refused if disposal is not None else []
    for item, reason in refused[:SHOWN]:
        print(f"{item.path} could not be removed: {reason}", file=sys.stderr)
    if len(refused) > SHOWN:
        print(f"and {len(refused) - SHOWN} more", file=sys.stderr)
    return ERROR if refused else 0


def _find(store: Store) -> Garbage:
    sweeps = named_stages(store.root)
    left = leftovers.sorted_out(store, sweeps)
    return find(store, sweeps | left.needed, left.ended, left.code, say_waiting)


def _named(store: Store) -> Collection[str]:
    """The stages that sweeps name now, and those of jobs that are not known to have ended."""
    sweeps = named_stages(store.root)
    return sweeps | leftovers.sorted_out(store, sweeps).needed


def to_json(found: Garbage, wanted: Sequence[Item], disposal: Disposal | None) -> dict[str, Any]:
    """The findings as JSON values."""
    removed = disposal.removed if disposal is not None else []
    included = {item.kind for item in wanted}
    return {
        "deleted": disposal is not None,
        "kinds": {
            kind: {"count": len(items), "bytes": _bytes(items), "included": kind in included}
            for kind in KINDS
            if (items := [item for item in found.items if item.kind == kind])
        },
        "count": len(wanted),
        "bytes": _bytes(wanted),
        "removed": {"count": len(removed), "bytes": _bytes(removed)},
        "busy": sorted(found.busy),
        "items": [
            {"kind": item.kind, "path": str(item.path), "bytes": item.size, "stage": item.stage or None}
            for item in found.items
        ],
        "refused": [
            {"path": str(item.path), "reason": reason} for item, reason in (disposal.refused if disposal else [])
        ],
    }


def text(results: Path, found: Garbage, wanted: Sequence[Item], disposal: Disposal | None) -> list[str]:
    """The findings for people."""
    shown = disposal.removed if disposal is not None else wanted
    lines = []
    rows: list[tuple[str, ...]] = []
    for kind, words in KINDS.items():
        items = [item for item in shown if item.kind == kind]
        if items:
            rows.append((kind, words, f"{len(items):,}", _size(items)))
    if rows:
        rows.append(("total", "", f"{len(shown):,}", _size(shown)))
        lines += [f"{results}: {'removed' if disposal is not None else 'can go'}", *columns(rows, "<<>>")]
    else:
        lines.append(f"{results}: nothing {'was removed' if disposal is not None and wanted else 'to remove'}")
    if found.busy:
        lines.append(f"kept: {count(len(found.busy), 'stage')} that somebody may be working on")
    if disposal is not None and disposal.kept:
        lines.append(f"kept: {count(len(disposal.kept), 'entry', 'entries')} that are needed again")
    included = {item.kind for item in wanted}
    others = [item for item in found.items if item.kind == "unnamed" and "unnamed" not in included]
    if others:
        lines.append(f"with --unnamed also {count(len(others), 'finished stage')}, {_size(others)}")
    if wanted and disposal is None:
        lines.append("nothing was removed; --delete does it")
    return lines


def _bytes(items: Sequence[Item]) -> int:
    return sum(item.size for item in items)


def _size(items: Sequence[Item]) -> str:
    """``3.40 GB``."""
    words = quantity(_bytes(items))
    return f"{words}B" if words[-1].isalpha() else f"{words} B"
