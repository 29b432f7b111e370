from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness.analysis import Table
from harness.analysis.statistics.intervals import Interval
from harness.report import cells
from harness.report.layout import width
from harness.report.markup import plain
from harness.report.terminal import render
from tests.report.conftest import make


def printed(table: Table, columns: int = 120, brief: bool = False) -> list[str]:
    buffer = io.StringIO()
    Console(file=buffer, width=columns, highlight=False).print(render(table, brief))
    return buffer.getvalue().splitlines()


@pytest.mark.parametrize("columns", [120, 160])
def test_the_table_fits(table: Table, columns: int) -> None:
    lines = printed(table, columns)
    assert all(width(line) <= columns for line in lines)
    text = "\n".join(lines)
    for word in ("VQAv2", "TextVQA", "OK-VQA", "COCO", "mean", "tokens"):
        assert word in lines[0]
    assert "parameters" not in lines[0]  # all have the same
    assert "The same for all variants: 1.00 k parameters" in text.replace("\n", " ")
    assert "…" not in text  # nothing is cut
    assert "baseline, 1/1 seeds" in text
    assert text.count(" score ") == 4
    assert "Contrasts" in text


def test_every_number_of_a_row_is_there(table: Table) -> None:
    text = "\n".join(printed(table))
    row = table.rows[1]
    for key in ("vqav2", "textvqa", "okvqa", "coco", "mean"):
        score = row.scores[key]
        assert score is not None
        assert f"{score.interval.mean:.1f} ±" in text
        assert f"{score.blind:.1f}" in text


def test_the_widest_numbers_still_fit(tmp_path: Path) -> None:
    """CIDEr above 100 with a wide interval, zeros with a bracket, a long name of a level."""

    def scorer(variant: str, task: str, seed: int, condition: str, number: int) -> float:
        if task == "textvqa":
            return 0.0
        return (250.0 if task == "coco" else 50.0) * (number % 3) / 2 if condition == "intact" else 12.5

    levels = {
        "an-extraordinarily-long-name-of-a-level-that-nobody-would-type": {"model.connector.num_tokens": 4},
        "b": {"model.connector.num_tokens": 9},
    }
    factors = {"a_factor_with_a_name": {"levels": levels}}
    baseline = {"a_factor_with_a_name": "b"}
    made, _ = make(tmp_path, scorer=scorer, factors=factors, baseline=baseline, claims=[], positive_control=None)
    lines = printed(made)
    assert all(width(line) <= 120 for line in lines)
    assert "…" not in "\n".join(lines)
    assert "125.0 ±" in "\n".join(lines)


def test_missing_rows_say_so(partial: Table) -> None:
    text = "\n".join(printed(partial))
    assert text.count("missing") >= 6  # three rows, and the list below
    assert "Not complete" in text


def test_the_brief_form_is_the_grid_alone(table: Table) -> None:
    text = "\n".join(printed(table, brief=True))
    assert "Contrasts" not in text
    assert "score" in text


@pytest.mark.parametrize("columns", [60, 80])
def test_a_narrow_terminal_gets_more_grids_and_every_number(table: Table, columns: int) -> None:
    lines = printed(table, columns)
    text = "\n".join(lines)
    assert all(width(line) <= columns for line in lines)
    assert "…" not in text
    for row in table.rows:
        for key in ("vqav2", "textvqa", "okvqa", "coco", "mean"):
            assert cells.score(row.scores[key], brief=True) in text


def test_a_verdict_stands_on_one_line_at_any_width(table: Table) -> None:
    wide = replace(
        table,
        rows=tuple(
            replace(row, difference={key: replace(d, seeds_to_decide=27) for key, d in row.difference.items()})
            for row in table.rows
        ),
    )
    verdicts = [f"{row.difference['mean'].verdict} (27 seeds)" for row in wide.rows[1:]]
    assert verdicts == ["inconclusive (27 seeds)"] * 3
    for columns in range(50, 125, 3):
        lines = printed(wide, columns, brief=True)
        assert all(width(line) <= columns for line in lines), columns
        assert "\n".join(lines).count(verdicts[0]) >= 3, columns


@pytest.mark.parametrize(
    ("interval", "signed", "text"),
    [
        (Interval(25.0, -292.7, 342.7), False, "25.0 ±>100"),
        (Interval(-50.0, -367.7, 267.7), True, "−50.0 ±>100"),
        (Interval(25.0, -70.0, 120.0), False, "25.0 ±95.0"),
        (Interval(204.7, 84.7, 324.7), False, "204.7 ±120.0"),
    ],
)
def test_an_interval_wider_than_the_scale_is_cut_short(interval: Interval, signed: bool, text: str) -> None:
    assert cells.short(interval, signed) == text
    assert "[" in cells.long(interval, signed)


def test_what_the_times_are_is_said(table: Table) -> None:
    first, *others = table.rows
    text = " ".join("\n".join(printed(replace(table, rows=(replace(first, train_seconds=1e3), *others)))).split())
    assert "training: FLOPs and time of one run's training" in text
    assert "of core time (all trainings and evaluations)" in text


def test_only_decided_differences_are_bold(decided: Table) -> None:
    console = Console(width=120, highlight=False, force_terminal=True, color_system="standard", file=io.StringIO())
    console.print(render(decided))
    out = console.file.getvalue()  # type: ignore[attr-defined]
    body = "\n".join(line for line in out.splitlines() if "VQAv2" not in line and "Contrasts" not in line)
    bold = {found.strip() for found in re.findall(r"\x1b\[1m(.*?)\x1b\[0m", body)}
    expected = {
        f"*{cells.change(found, brief=True)}"  # the mark stays where bold is lost
        for row in decided.rows[1:]
        for found in row.difference.values()
        if found.verdict in ("better", "worse")
    }
    assert expected
    assert {text for text in bold if re.search(r"\d", text)} == expected


def test_other_peoples_text_cannot_steer_the_terminal() -> None:
    assert plain("a\x1b[31mb\nc\u202ed") == "a\\x1b[31mb c\\u202ed"
