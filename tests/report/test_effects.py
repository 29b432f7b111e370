from __future__ import annotations

from pathlib import Path

from harness.analysis import Table
from harness.report.effects import effect_lines
from harness.report.table import markdown
from tests.report.conftest import make


def test_the_section_stands_in_the_markdown(table: Table) -> None:
    lines = effect_lines(table)
    assert lines[1] == "## Main effects and interactions"
    assert "\n".join(lines) in markdown(table)
    assert any(line.startswith("| tokens 9 → 4 |") and "| 2/2 |" in line for line in lines)
    assert any(line.startswith("| tokens 9 → 4 × pooling perceiver → average |") for line in lines)


def test_what_is_left_out_is_named(partial: Table) -> None:
    assert "- tokens=4,pooling=perceiver: missing" in effect_lines(partial)
    assert "- tokens=4,pooling=average: missing; tokens=9,pooling=average: missing" in effect_lines(partial)


def test_one_factor_has_no_section(tmp_path: Path) -> None:
    factors = {"tokens": {"key": "model.connector.num_tokens", "levels": [4, 9]}}
    made, _ = make(tmp_path, factors=factors, baseline={"tokens": 9}, claims=[], positive_control=None)
    assert effect_lines(made) == []


def test_levels_are_no_markup(tmp_path: Path) -> None:
    levels = {"a_b": {"model.connector.num_tokens": 4}, "b": {"model.connector.num_tokens": 9}}
    changes = {"factors": {"t": {"levels": levels}, "shots": {"key": "evaluation.shots", "levels": [0, 1]}}}
    made, _ = make(tmp_path, **changes, baseline={"t": "b", "shots": 1}, claims=[], positive_control=None)
    text = "\n".join(effect_lines(made))
    assert "a\\_b" in text
    assert "a_b" not in text
