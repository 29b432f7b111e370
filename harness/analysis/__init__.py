"""From the scores of samples to answers: intervals, paired differences, tables, claims. Reads the store.

Floors, from below: ``samples`` (values and what was asked) · ``statistics`` · ``stored`` (sweeps, runs, scores and
curves as the store holds them, and a derived cache, the only thing that is written) · ``tables`` · ``claims``.
scipy and pyarrow are imported by the modules that need them; ``import harness.analysis`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.analysis.claims.results import ClaimResult
    from harness.analysis.stored.sweeps import RunEntry, SavedSweep, VariantEntry
    from harness.analysis.tables.contrasts import ControlResult
    from harness.analysis.tables.table import Row, Score, Table, make_table

__all__ = [
    "ClaimResult",
    "ControlResult",
    "Row",
    "RunEntry",
    "SavedSweep",
    "Score",
    "Table",
    "VariantEntry",
    "make_table",
]

_HOMES = {
    "ClaimResult": "claims.results",
    "ControlResult": "tables.contrasts",
    "RunEntry": "stored.sweeps",
    "SavedSweep": "stored.sweeps",
    "VariantEntry": "stored.sweeps",
    "Row": "tables.table",
    "Score": "tables.table",
    "Table": "tables.table",
    "make_table": "tables.table",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
