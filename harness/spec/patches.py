"""Setting one key of a plain tree without touching the tree: what overrides and factor levels do."""

from __future__ import annotations

from typing import Any

from harness.spec.place import Path, dotted
from harness.spec.references import Resolver
from harness.spec.schema.training import merge


def assign(tree: Any, path: Path, value: Any, resolver: Resolver, done: Path = ()) -> Any:
    """A copy of ``tree`` with ``value`` at ``path``; everything beside the path is shared with the original.

    Mappings are merged into mappings, everything else replaces. A reference on the way is followed first.
    ``ValueError`` if the path leads into a list that has no such item.
    """
    if isinstance(tree, str) and "${" in tree and path:
        tree = resolver.resolve(tree, done)
    if not path:
        return merge(tree, value)
    segment, rest = path[0], path[1:]
    if isinstance(segment, int):
        if not isinstance(tree, list):
            raise ValueError(f"{dotted(done)} is not a list")
        if segment >= len(tree):
            raise ValueError(f"{dotted(done)} has {len(tree)} items, counted from 0")
        items = list(tree)
        items[segment] = assign(items[segment], rest, value, resolver, (*done, segment))
        return items
    if isinstance(tree, list):
        raise ValueError(f"{dotted(done)} is a list; its items are {dotted(done)}[0] and so on")
    mapping = dict(tree) if isinstance(tree, dict) else {}
    mapping[segment] = assign(mapping.get(segment), rest, value, resolver, (*done, segment))
    return mapping
