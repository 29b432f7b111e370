"""Text of others, such as names in a spec or answers of a model, made harmless for where it is shown."""

from __future__ import annotations

import re
from collections.abc import Sequence


def plain(text: str) -> str:
    """On one line and without control characters: nothing that would move a terminal's cursor or turn text around."""
    text = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    text = plain(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_|\[\]~])", r"\\\1", text)


def grid(head: Sequence[str], body: Sequence[Sequence[str]], text_columns: int) -> list[str]:
    """The lines of a table; the cells are Markdown already, the columns after the text are aligned right."""
    rule = ["---" if column < text_columns else "---:" for column in range(len(head))]
    return ["| " + " | ".join(row) + " |" for row in (head, rule, *body)]
