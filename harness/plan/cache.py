"""The user's cache folder: what can be computed again, kept from one command to the next."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``HARNESS_CACHE``, else ``harness`` in ``XDG_CACHE_HOME``, else ``~/.cache/harness``; it may not exist yet."""
    own = os.environ.get("HARNESS_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared).expanduser().absolute() if shared else Path.home() / ".cache") / "harness"
