"""Panels side by side with one row a variant, for figures that list variants by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.analysis.table import MEAN, Row, Table
from harness.report import cells
from harness.report.figures.labels import name
from harness.report.figures.style import GREY, NORMAL, SMALL, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 100
"""Rows: more make no picture. The table has all of them."""

_LETTERS = 34  # of a name in one line
_LINE = 0.165  # inches
_ROOM = 0.1  # inches between rows


def keys(table: Table) -> tuple[str, ...]:
    """The primary score first, then the others; of a single benchmark the mean is nothing new."""
    primary, tasks = table.sweep.primary, table.sweep.tasks
    if len(tasks) == 1:
        return (primary,)
    return (primary, *(key for key in (MEAN, *tasks) if key != primary))


def panels(
    rows: Sequence[Row], table: Table, widths: Sequence[float], titles: Sequence[str]
) -> tuple[Figure, Sequence[Axes]]:
    """A figure with a panel of each width (inches) and title, rows from top to bottom named on the left."""
    from matplotlib.figure import Figure

    names = [wrapped(name(row, table), _LETTERS) for row in rows]
    lines = max((text.count("\n") + 1 for text in names), default=1)
    height = max(1, len(rows)) * (lines * _LINE + _ROOM)
    longest = max((len(line) for text in names for line in text.split("\n")), default=0)
    figure = Figure(figsize=(sum(widths) + 0.075 * longest + 0.3, height + 1.75), layout="constrained")
    axes: Sequence[Axes] = figure.subplots(1, len(widths), squeeze=False, sharey=True, width_ratios=widths)[0]
    for panel, title in zip(axes, titles, strict=True):
        panel.set_title(cells.title(title), fontsize=NORMAL, fontweight="bold")
        panel.tick_params(axis="y", length=0)
        panel.spines["left"].set_visible(False)
        panel.grid(axis="y", visible=False)
        for number in range(1, len(rows), 2):  # bands guide the eye to the name
            panel.axhspan(number - 0.5, number + 0.5, color="#f6f6f6", zorder=0, linewidth=0)
    axes[0].set_yticks(range(len(rows)), names, fontsize=SMALL + 0.5)
    axes[0].set_ylim(max(0, len(rows) - 1) + 0.6, -0.6)
    return figure, axes


def absent(panel: Axes, number: int, reason: str) -> None:
    """Says in its row why a variant has no mark."""
    panel.text(
        0.02,
        number,
        wrapped(reason, 40),
        transform=panel.get_yaxis_transform(),
        va="center",
        fontsize=SMALL,
        color=GREY,
        style="italic",
    )
