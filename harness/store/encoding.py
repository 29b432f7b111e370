"""JSON in two strengths: exact, for what identifies a stage, and forgiving, for what it reports.

An identity must never depend on how Python happens to print an object, so the exact form refuses everything that JSON
has no word for. A summary written after hours of training must not be lost to one numpy scalar or one NaN, so the
forgiving form converts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

MAX_DEPTH = 64  # a config is a few levels deep; beyond this it is a reference cycle


def exact(value: Any, place: str = "") -> Any:
    """A deep copy of ``value``, which may hold only ``dict`` with ``str`` keys, ``list``, ``str``, ``bool``, ``int``,
    finite ``float`` and ``None``, and no subclasses of them (a numpy ``float64`` is a ``float`` that prints otherwise).

    ``place`` is the dotted key of ``value``, used in errors. Raises ``TypeError`` or ``ValueError`` naming the key.
    """
    try:
        return _copy(value, 0)
    except _InexactError:
        return _exact(value, place, 0)


class _InexactError(Exception):
    """Something is not exact; ``_exact`` says what and where."""


def _copy(value: Any, depth: int) -> Any:
    """As ``_exact``, without its account of places: a plan of thousands of stages spends its time here."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is dict and depth <= MAX_DEPTH:
        for key in value:
            if type(key) is not str:
                raise _InexactError
        return {key: _copy(item, depth + 1) for key, item in value.items()}
    if kind is list and depth <= MAX_DEPTH:
        return [_copy(item, depth + 1) for item in value]
    if kind is float and math.isfinite(value):
        return value
    raise _InexactError


def _exact(value: Any, place: str, depth: int) -> Any:
    where = f"{place}: " if place else ""
    if depth > MAX_DEPTH:
        raise ValueError(f"{where}nested deeper than {MAX_DEPTH} levels")
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        if not math.isfinite(value):
            raise ValueError(f"{where}{value} cannot be part of an identity, it is not a JSON number")
        return value
    if kind is list:
        return [_exact(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        result = {}
        for key, item in value.items():
            if type(key) is not str:
                raise TypeError(f"{where}the key {key!r} is a {type(key).__name__}, JSON keys are strings")
            result[key] = _exact(item, f"{place}.{key}" if place else key, depth + 1)
        return result
    raise TypeError(f"{where}a {kind.__module__}.{kind.__qualname__} is not a JSON value")


def canonical(value: Any) -> str:
    """The one spelling of an exact value: sorted keys, no spaces, ASCII only.

    ``1`` and ``1.0`` and ``true`` stay different (code may treat a count and a fraction differently), although Python
    calls them equal; so compare spellings, never values.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def reportable(value: Any) -> Any:
    """``value`` as JSON values: numpy and torch scalars become numbers, tuples and sets lists, paths strings.

    Numbers that are not finite become ``None``: JSON has no word for them and strict readers refuse the whole file.
    Raises ``TypeError`` for anything else.
    """
    if value is None or isinstance(value, bool | str):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): reportable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [reportable(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(reportable(item) for item in value)
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "tolist"):  # numpy arrays and scalars, torch tensors
        return reportable(value.tolist())
    raise TypeError(f"a {type(value).__module__}.{type(value).__qualname__} cannot be written as JSON")


def differences(stored: Any, expected: Any, place: str = "") -> Iterator[str]:
    """One line for each key at which two exact values differ: ``key: stored → expected``."""
    if isinstance(stored, Mapping) and isinstance(expected, Mapping):
        for key in sorted({*stored, *expected}):
            inner = f"{place}.{key}" if place else str(key)
            if key not in stored:
                yield f"{inner}: (absent) → {canonical(expected[key])}"
            elif key not in expected:
                yield f"{inner}: {canonical(stored[key])} → (absent)"
            else:
                yield from differences(stored[key], expected[key], inner)
    elif canonical(stored) != canonical(expected):
        yield f"{place}: {canonical(stored)} → {canonical(expected)}"
