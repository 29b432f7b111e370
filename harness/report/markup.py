"""Markdown that shows text as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_|\[\]~])", r"\\\1", text)


def grid(head: Sequence[str], body: Sequence[Sequence[str]], text_columns: int) -> list[str]:
    """The lines of a table; the cells are Markdown already, the columns after the text are aligned right."""
    rule = ["---" if column < text_columns else "---:" for column in range(len(head))]
    return ["| " + " | ".join(row) + " |" for row in (head, rule, *body)]
