"""Plain text within the columns of a terminal: rows over several lines, lines broken between words."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.layout import columns, width

BELOW = 4
"""By how much the cells of a row are indented that stand below its first ones."""

FEW_WORDS = 24
"""Columns in which text can still be read."""


def fitted(rows: Sequence[Sequence[str]], align: str, room: int | None) -> list[str]:
    """As :func:`columns`, within ``room`` columns: where a row is too long, its last cells stand on lines below it.

    Without ``room``, in a pipe say, a row is a line.
    """
    lines = columns(rows, align)
    if room is None or all(width(line) <= room for line in lines):
        return lines
    groups: list[list[int]] = [[]]
    for column in range(len(rows[0])):
        group = [*groups[-1], column]
        is_text = column == len(rows[0]) - 1 and align[column : column + 1] != ">"
        # A last column of text may be folded, where there is room for a few words.
        taken = _breadth(rows, group[:-1] if is_text else group) + (FEW_WORDS if is_text else 0)
        if groups[-1] and taken > room - BELOW * (len(groups) > 1):
            groups.append([column])
        else:
            groups[-1] = group
    parts = [
        columns([[row[c] for c in group] for row in rows], "".join(_side(align, c) for c in group)) for group in groups
    ]
    found = []
    for row in zip(*parts, strict=True):
        for number, (line, group) in enumerate(zip(row, groups, strict=True)):
            start = BELOW if number else 0
            before = _breadth(rows, group[:-1])
            hanging = start + (before + 2 if before and group[-1] == len(rows[0]) - 1 else BELOW)
            found += fold(" " * start + line, room, hanging)
    return found


def fold(line: str, room: int | None, hanging: int = 2) -> list[str]:
    """A line, broken between words where it is longer than ``room``, the rest indented by ``hanging``."""
    if room is None or width(line) <= room:
        return [line]
    hanging = min(hanging, max(room - FEW_WORDS, room // 2))
    start = len(line) - len(line.lstrip())
    cut = line.rfind(" ", start + 1, room + 1)
    if cut <= max(start, hanging):
        cut = room  # a word that is longer than a line
    rest = line[cut:].strip()
    return [line[:cut].rstrip(), *(fold(" " * hanging + rest, room, hanging) if rest else [])]


def _breadth(rows: Sequence[Sequence[str]], group: Sequence[int]) -> int:
    return sum(max(width(row[column]) for row in rows) for column in group) + 2 * max(0, len(group) - 1)


def _side(align: str, column: int) -> str:
    return align[column : column + 1] or "<"
