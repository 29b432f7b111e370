from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from harness.analysis import Table
from harness.report.layout import width
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
    for word in ("VQAv2", "TextVQA", "OK-VQA", "COCO", "mean", "parameters", "tokens", "training"):
        assert word in lines[0]
    assert "…" not in text  # nothing is cut
    assert "baseline, 1/1 seeds" in text
    assert text.count("score") == 4
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
