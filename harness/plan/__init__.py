"""Variants to a graph of stages with ids, reuse and cost. Imports neither torch nor transformers nor pandas."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.plan.cache import cache_folder
    from harness.plan.cost import Costs, estimate
    from harness.plan.forecast import Outlook, outlook
    from harness.plan.graph import Plan, Run, build
    from harness.plan.sizes import Sizes, measure

__all__ = [
    "Costs",
    "Outlook",
    "Plan",
    "Run",
    "Sizes",
    "build",
    "cache_folder",
    "estimate",
    "measure",
    "outlook",
]

_HOMES = {
    "cache_folder": "cache",
    "Costs": "cost",
    "Sizes": "sizes",
    "estimate": "cost",
    "measure": "sizes",
    "Plan": "graph",
    "Run": "graph",
    "build": "graph",
    "Outlook": "forecast",
    "outlook": "forecast",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
