"""The record of a large sweep without what tables do not read: its configs are most of a hundred megabytes.

An excerpt lies in the derived cache of the store, under the name of the sweep, and counts only for the very bytes that
it was made from. It may be deleted at any time; whatever is wrong with it, it is made again silently.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from harness.analysis.stored.sweeps import SavedSweep
from harness.errors import HarnessError
from harness.store import write_bytes

FOLDER = Path("cache", "sweeps")

WORTH = 8 << 20
"""Bytes of a record from which on it has an excerpt; a smaller one is read in a fraction of a second."""

_FORMAT = 2
_OF_VARIANTS = ("config",)
_OF_STAGES = ("id", "digest", "slug", "flops")


def read_sweep(path: Path, root: Path, worth: int = WORTH) -> SavedSweep:
    """A sweep from its record, with an excerpt of it below the store's ``root`` where that is ``worth`` its file.

    Raises ``HarnessError`` for what is no record of a sweep; ``OSError`` and ``ValueError`` for what cannot be read.
    """
    data = path.read_bytes()
    if len(data) < worth:
        return SavedSweep.of(_record(data), str(path))
    digest = hashlib.sha256(data).hexdigest()
    kept = root / FOLDER / f"{path.parent.name}.json"
    excerpt = _kept(kept, digest)
    if excerpt is not None:
        del data
        # Later the file may be another one; what does not fit is then damaged, and says so.
        with contextlib.suppress(HarnessError):
            return SavedSweep.of(excerpt, str(path), lambda: _record(path.read_bytes()))
        data = path.read_bytes()
    value = _record(data)
    sweep = SavedSweep.of(value, str(path))
    with contextlib.suppress(OSError, HarnessError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        content = {"format": _FORMAT, "of": digest, "record": _excerpt(value)}
        raw = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")
        write_bytes(kept, hashlib.sha256(raw).hexdigest().encode() + b"\n" + raw, durable=False)
    return sweep


def _record(data: bytes) -> dict[str, Any]:
    value = orjson.loads(data)
    if not isinstance(value, dict) or not isinstance(value.get("stages"), list):
        raise ValueError("not the record of a sweep")
    return value


def _excerpt(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **value,
        "variants": [{k: v for k, v in entry.items() if k not in _OF_VARIANTS} for entry in value["variants"]],
        "stages": [{key: entry[key] for key in _OF_STAGES if key in entry} for entry in value["stages"]],
    }


def _kept(path: Path, digest: str) -> dict[str, Any] | None:
    """The excerpt of a record with this digest, ``None`` when there is none or it is damaged."""
    try:
        own, _, raw = path.read_bytes().partition(b"\n")
        if hashlib.sha256(raw).hexdigest().encode() != own:
            return None
        value = orjson.loads(raw)
        return value["record"] if value["format"] == _FORMAT and value["of"] == digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
