"""JSON for people and programs: the text of ``json.dumps(…, indent=2, ensure_ascii=False)``, several times faster.

Python indents in Python, an object at a time; a table of thousands of rows has a million of them. Here whatever holds
plain values only is left to the encoder in C, with separators that indent.
"""

from __future__ import annotations

from functools import cache, lru_cache
from json import JSONEncoder
from typing import Any

_NESTED = (dict, list, tuple)
_PLAIN = frozenset({str, int, float, bool, type(None)})


def indented(value: Any) -> str:
    """JSON values as text, two spaces a level."""
    pieces: list[str] = []
    _write(value, 0, pieces)
    return "".join(pieces)


def _write(value: Any, level: int, pieces: list[str]) -> None:
    is_object = isinstance(value, dict)
    if not value or not (is_object or isinstance(value, list | tuple)):
        pieces.append(_encoder(0).encode(value))
        return
    inner = "\n" + "  " * (level + 1)
    outer = "\n" + "  " * level
    items = value.values() if is_object else value
    for item in items:
        if type(item) not in _PLAIN and isinstance(item, _NESTED):
            break
    else:
        text = _encoder(level + 1).encode(value)
        pieces += [text[0], inner, text[1:-1], outer, text[-1]]
        return
    pieces.append("{" if is_object else "[")
    separator = inner
    for item in value.items() if is_object else value:
        pieces.append(separator)
        separator = "," + inner
        if is_object:
            key, item = item
            pieces.append(_key(key))
        _write(item, level + 1, pieces)
    pieces += [outer, "}" if is_object else "]"]


@lru_cache(maxsize=4096)
def _key(key: Any) -> str:
    """``"key": ``; keys that are no strings become some."""
    return _encoder(0).encode({key: 0})[1:-2]


@cache
def _encoder(level: int) -> JSONEncoder:
    return JSONEncoder(ensure_ascii=False, separators=(",\n" + "  " * level, ": "))
