"""Every seed's score of every variant: how far chance reaches, and whether seeds agree."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import TYPE_CHECKING

from harness.analysis.tables.table import MEAN, Row, Table
from harness.report.figures.rows import MOST, absent, keys, panels
from harness.report.figures.style import COLOURS, GREY, MARKERS, SMALL, drawing, heading, legend, looks, settle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TOLD_APART = len(COLOURS)


def seed_scatter(table: Table) -> Figure:
    """A row a variant, a mark a seed; a line joins the same seed, so that lines which do not cross mean agreement."""
    rows = list(table.rows[:MOST])
    shown = keys(table)
    seeds = list(table.sweep.seeds)
    with drawing():
        figure, axes, heights = panels(rows, table, [2.5, *[1.75] * (len(shown) - 1)], shown)
        for panel, key in zip(axes, shown, strict=True):
            _draw(panel, key, rows, heights, table, seeds)
        handles, labels = axes[0].get_legend_handles_labels()
        legend(figure, handles, labels)
        text = "each mark is one trained model; a line joins the models of one training seed"
        if len(table.rows) > len(rows):
            text += f"; the first {len(rows)} of {len(table.rows):,} variants"
        heading(figure, table.sweep.question or table.sweep.name, text)
        settle(figure)
    return figure


def _draw(
    panel: Axes, key: str, rows: Sequence[Row], heights: Sequence[float], table: Table, seeds: Sequence[int]
) -> None:
    tasks = table.sweep.tasks if key == MEAN else (key,)
    scores = [row.runs.scored(tasks).means for row in rows]
    told_apart = len(seeds) <= _TOLD_APART
    for number, seed in enumerate(seeds):
        values = [found.get(seed, nan) for found in scores]
        if all(value != value for value in values):
            continue
        look = looks(number) if told_apart else {"color": GREY, "marker": MARKERS[0], "linestyle": "-"}
        label = f"seed {seed}" if told_apart else ("seeds" if number == 0 else None)
        panel.plot(values, heights, label=label, linewidth=0.9, markersize=4.5, alpha=0.85, **look)
    for row, found, height in zip(rows, scores, heights, strict=True):
        if not found:
            absent(panel, height, row.status if row.status != "complete" else "no score yet")
        elif len(found) < len(seeds):
            panel.text(
                1.01,
                height,
                f"{len(found)}/{len(seeds)}",
                transform=panel.get_yaxis_transform(),
                va="center",
                fontsize=SMALL - 0.5,
                color=GREY,
            )
    panel.set_xlabel("points", fontsize=SMALL + 0.5)
