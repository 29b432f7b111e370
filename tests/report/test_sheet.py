from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.analysis import Table
from harness.analysis.statistics.differences import Difference
from harness.analysis.statistics.intervals import Interval
from harness.analysis.tables.published import PublishedRow
from harness.report import cells
from harness.report.sheet import (
    Beside,
    averages_sheet,
    constants_line,
    legend_lines,
    main_sheet,
    sheets,
    shown_levels,
)
from harness.report.table import markdown
from tests.report.conftest import make


def test_a_level_of_the_baseline_is_a_dot(table: Table) -> None:
    assert [shown_levels(row, table) for row in table.rows] == [
        ("9", "perceiver"),
        ("4", "·"),
        ("4", "average"),
        ("·", "average"),
    ]


def test_with_one_factor_levels_stay(tmp_path: Path) -> None:
    factors = {"tokens": {"key": "model.connector.num_tokens", "levels": [4, 9]}}
    made, _ = make(tmp_path, factors=factors, baseline={"tokens": 9}, claims=[], positive_control=None)
    assert [shown_levels(row, made) for row in made.rows] == [("9",), ("4",)]


def test_what_all_share_is_a_line_and_no_column(table: Table) -> None:
    head = main_sheet(table).head
    assert "parameters" not in head
    assert "1.00 k parameters" in constants_line(table)
    changed = replace(table, rows=(*table.rows[:-1], replace(table.rows[-1], parameters=2000)))
    assert "parameters" in main_sheet(changed).head
    assert "parameters" not in constants_line(changed).replace("trained", "")


def test_bold_is_what_is_decided_and_nothing_else(decided: Table) -> None:
    verdicts = [row.difference["mean"].verdict for row in decided.rows[1:]]
    assert set(verdicts) == {"worse", "equivalent"}
    sheet = main_sheet(decided)
    place = sheet.head.index("Δ mean")
    for line, row in zip(sheet.lines, decided.rows, strict=True):
        bold = [number for number, cell in enumerate(line.cells) if cell.is_decided]
        assert bold == ([place] if row.difference["mean"].verdict == "worse" else [])
    equivalent = next(n for n, row in enumerate(decided.rows) if row.difference["mean"].verdict == "equivalent")
    assert sheet.lines[equivalent].cells[place].text.startswith("≈ ")
    text = markdown(decided)
    assert text.count("**") == 2 * sum(cell.is_decided for s in sheets(decided) for ln in s.lines for cell in ln.cells)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Difference(Interval(1.0, 0.0, 2.0), verdict="inconclusive", seeds_to_decide=7), "inconclusive (7 seeds)"),
        (Difference(Interval(1.0, 0.0, 2.0), verdict="inconclusive"), "inconclusive"),
        (Difference(Interval(1.0, 0.5, 2.0), verdict="better"), "better"),
        (Difference(None, reason="no seed has both scores"), "–"),
    ],
)
def test_verdicts_as_words(found: Difference, text: str) -> None:
    assert cells.verdict(found) == text
    assert cells.is_decided(found) is (text == "better")


@pytest.mark.parametrize("status", ["missing", "failed", "diverged", "running"])
def test_absent_scores_are_words(partial: Table, status: str) -> None:
    rows = (partial.rows[0], *(replace(row, status=status) for row in partial.rows[1:]))
    sheet = main_sheet(replace(partial, rows=rows))
    place = sheet.head.index("COCO")
    assert [line.cells[place].text for line in sheet.lines[1:]] == [status] * 3


def test_averages_only_where_they_rank_otherwise_or_are_asked_for(table: Table) -> None:
    same = replace(table, rows=tuple(replace(row, means=table.rows[0].means) for row in table.rows))
    assert averages_sheet(same) is None
    asked = averages_sheet(same, Beside(averages=True))
    assert asked is not None
    assert asked.head[2:] == ("raw", "macro")
    first, *others = table.rows
    assert first.means is not None
    turned = replace(first.means, macro=1e6, raw=-1e6)
    sheet = averages_sheet(replace(table, rows=(replace(first, means=turned), *others)))
    assert sheet is not None
    assert sheet.lines[0].cells[-1].text == "1000000.0"


def test_published_rows_are_marked_and_never_judged(table: Table) -> None:
    row = PublishedRow("Idefics2", "arXiv 2405.02246", "T8", "MM1 7B", "8", "", {"vqav2": "63.6", "coco": "116.3"})
    beside = Beside(published=(row,))
    sheet = main_sheet(table, beside)
    line = sheet.lines[-1]
    texts = dict(zip(sheet.head[2:], (cell.text for cell in line.cells[2:]), strict=True))
    assert line.origin == "published"
    assert line.cells[0].text == "Published: Idefics2 T8, 8-shot: MM1 7B"
    assert (texts["VQAv2"], texts["COCO"], texts["TextVQA"], texts["mean"]) == ("63.6", "116.3", "–", "–")
    assert texts["Δ mean"] == texts["verdict"] == texts["blind"] == "–"
    assert not any(cell.is_decided for cell in line.cells)
    (note,) = [line for line in legend_lines(table, beside) if line.startswith("Published")]
    assert "arXiv 2405.02246" in note
    assert "ours: 4" in note
    assert "not ranked" in note
