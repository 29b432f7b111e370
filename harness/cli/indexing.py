"""How far the indexing of a data folder is, for people at a terminal."""

from __future__ import annotations

import sys


def indexing(done: int, total: int, what: str = "indexing the data") -> None:
    """Tells, on a terminal, how far the indexing of a data folder, or ``what`` else reads all of it, is."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r{what}: {100 * done // max(1, total)} %", end=end, file=sys.stderr, flush=True)
