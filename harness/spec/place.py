"""Where a value stands: paths into a tree of plain values, and the line and column each of them came from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]

_SEGMENT = re.compile(r"\.?([^.\[\]]+)|\[(\d{1,6})\]")


@dataclass(frozen=True)
class Place:
    """A position in a file; ``line`` and ``column`` count from 1, 0 means that there is none (an override)."""

    file: str
    line: int = 0
    column: int = 0


@dataclass(frozen=True)
class Mark:
    """Where a key stands and where its value starts (the same place for an item of a list).

    ``is_mapping``: the value was written as a mapping, which is merged with what weaker layers have there; anything
    else (a reference to a mapping too) replaces it.
    """

    key: Place
    value: Place
    is_mapping: bool = False


@dataclass
class Origins:
    """For every path of a composed tree, the last layer that wrote it.

    Layers are ordered from the weakest (the recipe) to the strongest (the last override). A path that no layer wrote
    itself, such as what a reference brought in, stands where its nearest written ancestor stands.
    """

    layers: list[Mapping[Path, Mark]] = field(default_factory=list)
    top: Place = field(default_factory=lambda: Place(""))

    def exact(self, path: Path, skip: int = 0) -> Mark | None:
        """The mark of exactly ``path`` in the strongest layer that has it, ``skip`` weakest layers left out."""
        for layer in reversed(self.layers[skip:]):
            if path in layer:
                return layer[path]
        return None

    def rank(self, path: Path) -> int:
        """The number of the layer that the value at ``path`` came from, -1 if there is none."""
        return self._source(path)[0]

    def key(self, path: Path) -> Place:
        """Where the key of ``path`` stands, or the nearest ancestor's."""
        return self._source(path)[1].key

    def value(self, path: Path) -> Place:
        """Where the value of ``path`` starts, or the nearest ancestor's."""
        return self._source(path)[1].value

    def _source(self, path: Path) -> tuple[int, Mark]:
        parents = [path[:length] for length in range(len(path) - 1, 0, -1)]
        for number in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[number]
            if path in layer:
                return number, layer[path]
            nearest = next((layer[parent] for parent in parents if parent in layer), None)
            if nearest is not None and not nearest.is_mapping:
                return number, nearest
        for parent in parents:
            mark = self.exact(parent)
            if mark is not None:
                return -1, mark
        return -1, Mark(self.top, self.top)


def dotted(path: Sequence[str | int]) -> str:
    """``("a", "b", 0)`` as ``a.b[0]``."""
    text = ""
    for segment in path:
        text += f"[{segment}]" if isinstance(segment, int) else f".{segment}" if text else segment
    return text


def parse_key(text: str) -> Path:
    """``a.b[0]`` as ``("a", "b", 0)``; a ``ValueError`` if it is not written so."""
    path: list[str | int] = []
    position = 0
    while position < len(text):
        match = _SEGMENT.match(text, position)
        if match is None or (position == 0) != (match[0][0] not in ".["):
            raise ValueError(f"{text!r} is not a key such as a.b or a.b[0]")
        path.append(match[1] if match[1] is not None else int(match[2]))
        position = match.end()
    if not path:
        raise ValueError("the key is empty")
    return tuple(path)


def fit(tree: Any, path: Path) -> Path:
    """The same path, with segments joined where the tree has keys with dots (``levels.base.model.image.size``)."""
    fitted: list[str | int] = []
    rest = list(path)
    while rest:
        take = 1
        if isinstance(tree, dict) and isinstance(rest[0], str):
            longest = next((i for i, segment in enumerate(rest) if isinstance(segment, int)), len(rest))
            take = next((n for n in range(longest, 1, -1) if ".".join(map(str, rest[:n])) in tree), 1)
        segment = rest[0] if take == 1 else ".".join(map(str, rest[:take]))
        fitted.append(segment)
        rest = rest[take:]
        tree = child(tree, segment)
    return tuple(fitted)


def child(tree: Any, segment: str | int) -> Any:
    """What ``segment`` leads to, ``None`` where it leads nowhere."""
    if isinstance(tree, dict) and isinstance(segment, str):
        return tree.get(segment)
    if isinstance(tree, list | tuple) and isinstance(segment, int) and segment < len(tree):
        return tree[segment]
    return None


def nodes(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Everything below ``path``, mappings and lists too, with its path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, item in items:
        yield (*path, key), item
        yield from nodes(item, (*path, key))


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value below ``path`` that is neither a mapping nor a list, with its path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path, value
