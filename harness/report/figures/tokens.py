"""Every score against the visual tokens of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.analysis.tables.table import MEAN, Row, Table
from harness.report import cells
from harness.report.figures.labels import without
from harness.report.figures.style import drawing, empty, heading, legend, looks, named, settle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLIND = "best blind control"


def score_against_tokens(table: Table) -> Figure:
    """Every score against the visual tokens of an image, one panel a benchmark, one line for each other choice.

    Bars are the intervals of the table; the grey line is the best blind control, averaged over the variants of a
    token count. Variants without a score are named below instead of left out silently.
    """
    keys = (MEAN, *table.sweep.tasks)
    series = _series(table)
    ticks = sorted({row.visual_tokens for row in table.rows})
    with drawing():
        figure = empty(2.35 * len(keys) + 0.4, 3.1)
        axes: Sequence[Axes] = figure.subplots(1, len(keys), squeeze=False)[0]
        for panel, key in zip(axes, keys, strict=True):
            for number, (name, rows) in enumerate(series):
                _draw_series(panel, key, name, rows, number, len(series))
            _draw_blind(panel, key, table.rows)
            _finish_panel(panel, key, ticks)
        axes[0].set_ylabel("points")
        heading(figure, table.sweep.question or table.sweep.name, _caption(table))
        handles, labels = axes[0].get_legend_handles_labels()
        order = sorted(range(len(labels)), key=lambda n: labels[n] == BLIND)  # stable: only blind moves, to the end
        legend(figure, [handles[n] for n in order], [labels[n] for n in order])
        settle(figure)
    return figure


def _series(table: Table) -> list[tuple[str, list[Row]]]:
    """Rows that differ in nothing but the number of visual tokens form a line."""
    deciding = _token_factors(table)
    found: dict[str, list[Row]] = {}
    for row in table.rows:
        levels = row.variant.levels
        name = ", ".join(level for factor, level in levels.items() if factor not in deciding) or table.sweep.name
        found.setdefault(name, []).append(row)
    return [(name, sorted(rows, key=lambda row: row.visual_tokens)) for name, rows in sorted(found.items())]


def _token_factors(table: Table) -> set[str]:
    """Factors whose levels go with numbers of visual tokens, one to one."""
    deciding = set()
    for factor in table.sweep.factors:
        pairs = {(row.variant.levels.get(factor), row.visual_tokens) for row in table.rows}
        levels, tokens = {level for level, _ in pairs}, {count for _, count in pairs}
        if len(tokens) > 1 and len(pairs) == len(levels) == len(tokens):
            deciding.add(factor)
    return deciding


def _draw_series(panel: Axes, key: str, name: str, rows: Sequence[Row], number: int, count: int) -> None:
    shift = 1.0 + 0.035 * (number - (count - 1) / 2)  # so that bars at the same number of tokens stand side by side
    points = []
    for row in rows:
        score = row.scores.get(key)
        if score is not None:
            interval = score.interval
            low = interval.mean if interval.low is None else interval.low
            high = interval.mean if interval.high is None else interval.high
            points.append((row.visual_tokens * shift, interval.mean, interval.mean - low, high - interval.mean))
    if not points:
        return
    across, middles, below, above = zip(*points, strict=True)
    panel.errorbar(
        across,
        middles,
        yerr=(below, above),
        label=name,
        **looks(number),
        markersize=5,
        linewidth=1.3,
        capsize=2.5,
        elinewidth=1.0,
    )


def _draw_blind(panel: Axes, key: str, rows: Sequence[Row]) -> None:
    blinds: dict[int, list[float]] = {}
    for row in rows:
        score = row.scores.get(key)
        if score is not None and score.blind is not None:
            blinds.setdefault(row.visual_tokens, []).append(score.blind)
    if blinds:
        across = sorted(blinds)
        middles = [sum(blinds[tokens]) / len(blinds[tokens]) for tokens in across]
        if len(across) == 1:
            panel.axhline(middles[0], color="#888888", linestyle=(0, (1, 2)), linewidth=1.2, label=BLIND)
        else:
            panel.plot(across, middles, color="#888888", linestyle=(0, (1, 2)), linewidth=1.2, label=BLIND)


def _finish_panel(panel: Axes, key: str, ticks: Sequence[int]) -> None:
    from matplotlib.ticker import NullLocator

    panel.set_title(cells.title(key), fontsize=9, fontweight="bold")
    panel.set_xscale("log", base=2)
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xticks(list(ticks), [str(tick) for tick in ticks])
    panel.set_xlim(min(ticks) / 1.25, max(ticks) * 1.25)
    panel.set_ylim(bottom=min(0.0, panel.get_ylim()[0]) if panel.get_ylim()[0] < 0 else 0.0)
    panel.set_xlabel("visual tokens an image")


def _caption(table: Table) -> str:
    percent = f"{100 * table.sweep.confidence:g} %"
    seeds = sorted({len(row.seeds) for row in table.rows})
    kind = "conditional on one trained model" if seeds == [1] else "over training seeds where there are several"
    absent = without(table, MEAN)
    missing = f"; no score yet: {named(absent)}" if absent else ""
    return f"bars: {percent} intervals, {kind}{missing}"
