"""References ``${a.b}`` and ``${a.b[0]}``: one value of a spec used in another place, and nothing else.

No resolver (``${name:…}``) exists, so that nothing outside the files can enter an identity: not the environment, not
the clock. A text may hold references among other words (``runs/${name}``); a text that is one reference takes the
referenced value whole, whatever its type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from harness.spec.place import Path, child, dotted, leaves, parse_key
from harness.spec.report import nearest, shown_key
from harness.spec.scalars import name

MAX_CHAIN = 40
MAX_VALUES = 100_000
MAX_TEXT = 10_000
MAX_DEPTH = 150

_OPEN = re.compile(r"\$\{")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_][A-Za-z0-9_-]*|\[[0-9]{1,6}\])*)\}")


class UnresolvedError(ValueError):
    """A reference at ``site`` that cannot be followed."""

    def __init__(self, site: Path, message: str, remedy: str) -> None:
        super().__init__(message)
        self.site = site
        self.message = message
        self.remedy = remedy


@lru_cache(maxsize=4096)
def template(text: str) -> tuple[str | Path, ...] | None:
    """The text cut into words and paths of references; ``None`` without any; ``ValueError`` if one is not plain."""
    if "${" not in text:
        return None
    parts: list[str | Path] = []
    position = 0
    for start in (match.start() for match in _OPEN.finditer(text)):
        if start < position:
            continue
        match = _REFERENCE.match(text, start)
        if match is None:
            raise ValueError(_reason(text[start:]))
        if start > position:
            parts.append(text[position:start])
        parts.append(parse_key(match[1]))
        position = match.end()
    if position < len(text):
        parts.append(text[position:])
    return tuple(parts)


def _reason(text: str) -> str:
    inside = text[2:].split("}")[0]
    written = shown_key(text[: len(inside) + 3], 60)
    if ":" in inside:
        return f"{written} calls a resolver; only plain references are read, never the environment or code"
    if "}" not in text:
        return f"the reference {written} is not closed"
    return f"{written} is not a plain reference"


def sites(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every text below ``path`` that holds ``${``."""
    return ((here, text) for here, text in leaves(value, path) if isinstance(text, str) and "${" in text)


class Resolver:
    """Follows the references of one composed tree; every result is computed once."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self._tree = tree
        self._done: dict[Path, Any] = {}
        self._open: list[Path] = []
        self._values = 0
        self._depth = 0

    def resolve(self, value: Any, path: Path) -> Any:
        """``value``, which stands at ``path``, with every reference in it replaced, or an :class:`UnresolvedError`."""
        self._values = self._depth = 0
        self._open = []
        return self._expand(value, path)

    def _spend(self, values: int, site: Path) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            message = f"references expand to more than {MAX_VALUES:,} values"
            raise UnresolvedError(site, message, "refer to single values instead of whole sections")

    def _expand(self, value: Any, path: Path) -> Any:
        self._spend(1, path)
        if isinstance(value, dict | list):
            if self._depth >= MAX_DEPTH:
                raise UnresolvedError(path, f"references nest deeper than {MAX_DEPTH} levels", "flatten the values")
            self._depth += 1
            expanded: Any
            if isinstance(value, dict):
                expanded = {key: self._expand(item, (*path, key)) for key, item in value.items()}
            else:
                expanded = [self._expand(item, (*path, index)) for index, item in enumerate(value)]
            self._depth -= 1
            return expanded
        return self._follow(value, path) if isinstance(value, str) else value

    def _follow(self, value: str, path: Path) -> Any:
        try:
            parts = template(value)
        except ValueError as error:
            raise UnresolvedError(path, str(error), "write the value itself, or a plain ${a.b}") from None
        if parts is None:
            return value
        if len(parts) == 1 and isinstance(parts[0], tuple):
            return self._at(parts[0], path)
        return self._join(parts, path)

    def _join(self, parts: tuple[str | Path, ...], site: Path) -> str:
        text = ""
        for part in parts:
            word = part if isinstance(part, str) else name(self._at(part, site))
            if word is None:
                message = f"${{{dotted(part)}}} is a list or a mapping and cannot stand inside a text"
                raise UnresolvedError(site, message, "refer to a single value, or let the reference stand alone")
            text += word
            if len(text) > MAX_TEXT:
                raise UnresolvedError(site, f"the text grows beyond {MAX_TEXT:,} characters", "write it out")
        return text

    def _at(self, target: Path, site: Path) -> Any:
        if target in self._done:
            value = self._done[target]
            self._spend(1 + sum(1 for _ in leaves(value)), site)
            return value
        if target in self._open:
            chain = [*self._open[self._open.index(target) :], target]
            message = f"reference cycle: {' → '.join(map(dotted, chain))}"
            raise UnresolvedError(site, message, "write one of the values out")
        if len(self._open) >= MAX_CHAIN:
            raise UnresolvedError(site, f"a chain of more than {MAX_CHAIN} references", "refer to the value directly")
        self._open.append(target)
        value = self._expand(self._raw(target, site), target)
        self._open.pop()
        self._done[target] = value
        return value

    def _raw(self, target: Path, site: Path) -> Any:
        """What stands at ``target``, references on the way to it followed."""
        node: Any = self._tree
        for length, segment in enumerate(target):
            here = target[:length]
            if isinstance(node, str) and "${" in node:
                node = self._at(here, site)
            known = isinstance(node, dict) and segment in node
            if not known and not (isinstance(node, list) and isinstance(segment, int) and segment < len(node)):
                raise UnresolvedError(site, f"${{{dotted(target)}}} refers to nothing", _hint(node, here, segment))
            node = child(node, segment)
        return node


def _hint(node: Any, here: Path, segment: str | int) -> str:
    at = dotted(here) or "the spec"
    if isinstance(node, dict) and isinstance(segment, str):
        match = nearest(segment, node)
        if match is not None:
            return f"did you mean ${{{dotted((*here, match))}}}?"
        return f"{at} has: {', '.join(list(node)[:12])}" if node else f"{at} is empty"
    if isinstance(node, list):
        return f"{at} is a list of {len(node)}; items are counted from 0"
    return f"{at} is a single value"
