from __future__ import annotations

import pytest

from harness.report.fitting import fitted, fold
from harness.report.layout import columns, width

ROWS = [
    ("state", "stage", "runs", "reason"),
    ("run", "align-seed0-tokens=4,pooling=perceiver", "12", "new: differs from another in one thing and the next"),
    ("reuse", "main-seed0", "1", "finished"),
]


@pytest.mark.parametrize("room", [20, 40, 55, 60, 80, 100, 200])
def test_rows_fit_and_lose_no_word(room: int) -> None:
    lines = fitted(ROWS, "<<><", room)
    assert all(width(line) <= room for line in lines)
    assert "".join("".join(lines).split()) == "".join("".join(cell.split()) for row in ROWS for cell in row)


def test_cells_below_are_indented_and_aligned_and_text_hangs() -> None:
    assert fitted(ROWS, "<<><", 52) == [
        "state  stage                                   runs",
        "    reason",
        "run    align-seed0-tokens=4,pooling=perceiver    12",
        "    new: differs from another in one thing and the",
        "        next",
        "reuse  main-seed0                                 1",
        "    finished",
    ]
    assert fitted(ROWS, "<<><", 80)[1:3] == [
        "run    align-seed0-tokens=4,pooling=perceiver    12  new: differs from another",
        "                                                     in one thing and the next",
    ]


def test_what_fits_or_has_no_terminal_is_a_line_a_row() -> None:
    assert fitted(ROWS, "<<><", None) == fitted(ROWS, "<<><", 200) == columns(ROWS, "<<><")


def test_lines_break_between_words() -> None:
    assert fold("one two three four", 9) == ["one two", "  three", "  four"]
    assert fold("a" * 12, 5) == ["a" * 5, "  aaa", "  aaa", "  a"]
    assert fold("one two", None) == ["one two"]
