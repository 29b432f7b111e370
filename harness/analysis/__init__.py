"""From the scores of samples to rows of a table: means, intervals, paired differences. Reads the store, writes nothing.

scipy and pyarrow are imported by the modules that need them; ``import harness.analysis`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.analysis.claims import ClaimResult
    from harness.analysis.contrasts import ControlResult
    from harness.analysis.sweeps import RunEntry, SavedSweep, VariantEntry
    from harness.analysis.table import Row, Score, Table, make_table

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
    "ClaimResult": "claims",
    "ControlResult": "contrasts",
    "RunEntry": "sweeps",
    "SavedSweep": "sweeps",
    "VariantEntry": "sweeps",
    "Row": "table",
    "Score": "table",
    "Table": "table",
    "make_table": "table",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
