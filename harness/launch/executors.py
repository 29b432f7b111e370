"""Which function computes which kind of stage. A new kind is one line here.

Functions are named, not imported: the scheduler and the command line start without torch, a worker imports what it
runs. A stage's kind, which is read from a file, is only ever a key of this table.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.errors import HarnessError
from harness.store import Workspace

Executor = Callable[[Workspace], None]

EXECUTORS: Mapping[str, str] = {
    "features": "harness.train.encode:run",
    "experts": "harness.train.label:run",
    "train": "harness.train.stage:run",
    "check": "harness.train.check:run",
    "evaluate": "harness.evaluate.stage:run",
}

TOGETHER = frozenset({"train", "evaluate"})
"""Kinds whose stages several ranks can work on; the others are computed by one process."""


def load(kind: str, registry: Path | None = None) -> Executor:
    """The executor of a kind; ``registry`` is a JSON file with another table (the tests have one).

    Raises ``HarnessError`` for an unknown kind.
    """
    table = EXECUTORS if registry is None else json.loads(registry.read_bytes())
    if kind not in table:
        known = ", ".join(sorted(table))
        raise HarnessError(f"There is no executor for stages of kind {kind!r}.", f"Known kinds: {known}.")
    module, _, function = table[kind].partition(":")
    executor: Executor = getattr(importlib.import_module(module), function)
    return executor
