"""What an unquoted YAML scalar means, by YAML 1.2's core rules: ``no`` and ``on`` are words, ``1e-3`` is a number."""

from __future__ import annotations

import re

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITY = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_MAX_DIGITS = 40

Scalar = str | int | float | bool | None


class UnclearError(ValueError):
    """An unquoted scalar without a single sensible reading."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


def plain(text: str) -> Scalar:
    """The value of an unquoted scalar, or an :class:`UnclearError`."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INFINITY.fullmatch(text) or text in _NAN:
        raise UnclearError(f"{text} is not a finite number", "write a number, or quote it as text")
    if _INTEGER.fullmatch(text):
        digits = text.lstrip("+-")
        if len(digits) > _MAX_DIGITS:
            raise UnclearError(f"a number of {len(digits)} digits is too long", "quote it, if it is meant as text")
        if digits[0] == "0" and len(digits) > 1 and digits.isdigit():
            remedy = f'write {int(text, 10)}, or "{text}" if it is meant as text'
            raise UnclearError(f"{text} could be a decimal or an octal number", remedy)
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        value = float(text) if len(text) <= 2 * _MAX_DIGITS else float("inf")
        if value in (float("inf"), float("-inf")):
            message = f"the number {text[:_MAX_DIGITS]} is too large or too long"
            raise UnclearError(message, "quote it, if it is meant as text")
        return value
    return text


def name(value: object) -> str | None:
    """The text by which a scalar is known as a level (``36``, ``0.001``, ``true``), ``None`` for lists and mappings."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int | float):
        return repr(value)
    return None
