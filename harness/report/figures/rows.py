"""Panels side by side with one row a variant, for figures that list variants by name."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from harness.analysis.tables.table import MEAN, Row, Table
from harness.report import cells
from harness.report.figures.labels import name
from harness.report.figures.style import GREY, NORMAL, SMALL, empty, wrapped, wrapped_list

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 100
"""Rows: more make no picture. The table has all of them."""

_LETTERS = 36  # of a name in one line
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
) -> tuple[Figure, Sequence[Axes], list[float]]:
    """A figure with a panel of each width (inches) and title, rows from top to bottom named on the left.

    The numbers are the heights at which the rows stand; a name of several lines takes more room.
    """
    names = [wrapped_list(name(row, table), _LETTERS) for row in rows]
    heights = [(text.count("\n") + 1) * _LINE + _ROOM for text in names]
    ends = list(accumulate(heights, initial=0.0))
    middles = [start + height / 2 for start, height in zip(ends, heights, strict=False)]
    longest = max((len(line) for text in names for line in text.split("\n")), default=0)
    width = sum(widths) + 0.075 * longest + 0.3
    figure = empty(width, max(ends[-1], 0.4) + 1.75)
    axes: Sequence[Axes] = figure.subplots(1, len(widths), squeeze=False, sharey=True, width_ratios=widths)[0]
    for panel, title in zip(axes, titles, strict=True):
        panel.set_title(cells.title(title), fontsize=NORMAL, fontweight="bold")
        panel.tick_params(axis="y", length=0)
        panel.spines["left"].set_visible(False)
        panel.grid(axis="y", visible=False)
        for number in range(1, len(rows), 2):  # bands guide the eye to the name
            panel.axhspan(ends[number], ends[number + 1], color="#f6f6f6", zorder=0, linewidth=0)
    axes[0].set_yticks(middles, names, fontsize=SMALL + 0.5)
    axes[0].set_ylim(max(ends[-1], 0.4) + 0.05, -0.05)
    return figure, axes, middles


def absent(panel: Axes, height: float, reason: str) -> None:
    """Says in its row why a variant has no mark."""
    panel.text(
        0.02,
        height,
        wrapped(reason, 40),
        transform=panel.get_yaxis_transform(),
        va="center",
        fontsize=SMALL,
        color=GREY,
        style="italic",
    )
