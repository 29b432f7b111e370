from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from harness.analysis import Table
from harness.report import figures
from harness.report.figures.tokens import BLIND
from tests.report.conftest import make


def test_one_panel_a_benchmark_one_line_a_choice(table: Table) -> None:
    figure = figures.score_against_tokens(table)
    assert [axes.get_title() for axes in figure.axes] == ["mean", "VQAv2", "TextVQA", "OK-VQA", "COCO"]
    for axes in figure.axes:
        assert [container.get_label() for container in axes.containers] == ["average", "perceiver"]
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["4", "9"]


def test_points_and_bars_are_those_of_the_table(table: Table) -> None:
    figure = figures.score_against_tokens(table)
    panel = figure.axes[2]
    (container,) = [c for c in panel.containers if c.get_label() == "perceiver"]
    line, _, (bars,) = container.lines
    for number, tokens in enumerate((4, 9)):
        score = table.row(f"tokens={tokens},pooling=perceiver").scores["textvqa"]
        assert score is not None
        assert line.get_ydata()[number] == pytest.approx(score.interval.mean)
        assert line.get_xdata()[number] == pytest.approx(tokens, rel=0.05)
        low, high = bars.get_segments()[number][:, 1]
        assert (low, high) == (pytest.approx(score.interval.low), pytest.approx(score.interval.high))


def test_bars_that_are_not_symmetric_stand_the_right_way(tmp_path: Path) -> None:
    made, _ = make(tmp_path, lambda number: number == 0, lambda *_: 0.0)
    panel = figures.score_against_tokens(made).axes[1]
    (container,) = panel.containers
    low, high = container.lines[2][0].get_segments()[0][:, 1]
    assert low == 0.0
    assert high > 20.0


def test_the_blind_line_is_the_mean_over_variants(table: Table) -> None:
    panel = figures.score_against_tokens(table).axes[0]
    (line,) = [line for line in panel.get_lines() if line.get_label() == BLIND]
    rows = [row for row in table.rows if row.visual_tokens == 4]
    blinds = [row.scores["mean"].blind for row in rows]  # type: ignore[union-attr]
    assert line.get_ydata()[0] == pytest.approx(sum(blinds) / 2)  # type: ignore[arg-type]


def test_variants_without_a_score_are_named(partial: Table) -> None:
    figure = figures.score_against_tokens(partial)
    title = figure.get_suptitle()
    assert "no score yet" in title
    assert "tokens 4, pooling average (missing)" in title.replace("\n", " ")


def test_a_sweep_without_any_score_has_a_figure(tmp_path: Path) -> None:
    made, _ = make(tmp_path, lambda number: False)
    assert figures.save(figures.score_against_tokens(made), tmp_path / "figure")


def test_files_are_the_same_every_time(table: Table, tmp_path: Path) -> None:
    for name in ("one", "two"):
        figures.save(figures.score_against_tokens(table), tmp_path / name)
    for kind in ("svg", "png"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
    assert Image.open(tmp_path / "one.png").size[0] > 1000
    assert b"<svg" in (tmp_path / "one.svg").read_bytes()


def test_factors_that_go_with_tokens_make_no_lines_of_their_own(tmp_path: Path) -> None:
    levels = {"few": {"model.connector.num_tokens": 4}, "many": {"model.connector.num_tokens": 9}}
    changes = {"factors": {"amount": {"levels": levels}}, "baseline": {"amount": "many"}}
    made, _ = make(tmp_path, **changes, claims=[], positive_control=None)
    panel = figures.score_against_tokens(made).axes[0]
    assert [container.get_label() for container in panel.containers] == ["pooling"]
    assert len(panel.containers[0].lines[0].get_xdata()) == 2


def test_a_factor_without_effect_on_tokens_makes_lines(tmp_path: Path) -> None:
    factors = {"shots": {"key": "evaluation.shots", "levels": [1, 2]}}
    made, _ = make(tmp_path, factors=factors, baseline={"shots": 1}, claims=[], positive_control=None)
    panel = figures.score_against_tokens(made).axes[0]
    assert [container.get_label() for container in panel.containers] == ["1", "2"]
