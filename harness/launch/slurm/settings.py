"""The cluster's own settings, as ``scontrol show config`` tells them: asked once a process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from harness.launch.slurm import queue

DEFAULT_ARRAY = 1001  # Slurm's own MaxArraySize


@cache
def settings() -> Mapping[str, str]:
    """All settings by name. Raises ``QueueUnreachable`` when Slurm does not answer."""
    lines = queue.ask("scontrol", "show", "config").splitlines()
    pairs = (re.fullmatch(r"(\w+)\s*=\s?(.*)", line) for line in lines)
    return {pair[1]: pair[2].strip() for pair in pairs if pair}


def has_accounting() -> bool:
    """Whether the cluster keeps accounts, so that ``sacct`` may answer. Raises as ``settings``."""
    return settings().get("AccountingStorageType", "").endswith("slurmdbd")


def largest_array() -> int:
    """The number of tasks that a job array may have, counted from 0."""
    size = settings().get("MaxArraySize", "")
    return max(1, int(size)) if size.isdecimal() else DEFAULT_ARRAY
