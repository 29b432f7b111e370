"""A segment of the derived cache: scores of many evaluations in one file, written once and never changed.

::

    8 bytes      what it is
    8 bytes      length of the header
    32 bytes     SHA-256 of the header
    header       JSON
    points       float64, little-endian, one evaluation after the other

Read with ``pread`` and never mapped: a file that another process cuts short or removes is then an error to handle and
not the end of the process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from harness.analysis.samples.values import Points
from harness.store import write_bytes

SUFFIX = ".scores"

_MAGIC = b"HSCORE1\n"
_START = len(_MAGIC) + 8 + 32
_TYPE = np.dtype("<f8")


class DamagedSegment(Exception):
    """What lies there is not what was written, or does not lie there any more."""


class Segment:
    """An open segment; raises ``DamagedSegment`` when it is not whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise DamagedSegment(str(path)) from error
        try:
            self.header = self._header()
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.close()
            raise DamagedSegment(str(path)) from error

    def close(self) -> None:
        """Gives the file back."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def discard(self) -> None:
        """Removes the file, so that its content is made again."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    def points(self, offset: int, count: int, checksum: int) -> Points:
        """``count`` values from value ``offset`` on, whose CRC-32 must be ``checksum``."""
        try:
            raw = os.pread(self._descriptor, count * _TYPE.itemsize, self._points + offset * _TYPE.itemsize)
        except OSError as error:
            raise DamagedSegment(str(self.path)) from error
        if len(raw) != count * _TYPE.itemsize or zlib.crc32(raw) != checksum:
            raise DamagedSegment(str(self.path))
        return np.frombuffer(raw, _TYPE).astype(np.float64)

    def _header(self) -> Any:
        start = os.pread(self._descriptor, _START, 0)
        if len(start) != _START or not start.startswith(_MAGIC):
            raise ValueError("not a segment")
        length = int.from_bytes(start[len(_MAGIC) : len(_MAGIC) + 8], "little")
        if length > os.fstat(self._descriptor).st_size:
            raise ValueError("cut short")
        raw = os.pread(self._descriptor, length, _START)
        if hashlib.sha256(raw).digest() != start[-32:]:
            raise ValueError("changed")
        self._points = _START + length
        header = orjson.loads(raw)
        if os.fstat(self._descriptor).st_size != self._points + header["values"] * _TYPE.itemsize:
            raise ValueError("cut short")
        return header


def write(folder: Path, header: Mapping[str, Any], points: Sequence[bytes]) -> Path:
    """Writes a segment in one step, under a name that follows from its content."""
    values = sum(map(len, points)) // _TYPE.itemsize
    raw = json.dumps({**header, "values": values}, separators=(",", ":"), ensure_ascii=False).encode()
    digest = hashlib.sha256(raw).digest()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{digest.hex()[:32]}{SUFFIX}"
    write_bytes(path, b"".join([_MAGIC, len(raw).to_bytes(8, "little"), digest, raw, *points]), durable=False)
    return path


def packed(points: Points) -> bytes:
    """Points as they lie in a segment."""
    return points.astype(_TYPE).tobytes()
