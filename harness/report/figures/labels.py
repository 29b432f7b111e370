"""What variants are called in figures, and where names beside points do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.analysis.tables.table import Row, Table
from harness.report.figures.style import SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

_GAP = 5.0  # points of type between a mark and its name
_MARGIN = 2.0  # pixels around a name
_SIDES = ((1, 0), (1, 1), (1, -1), (0, 1), (0, -1), (-1, 0), (-1, 1), (-1, -1))
_ALIGNED = {-1: ("right", "top"), 0: ("center", "center"), 1: ("left", "bottom")}


def name(row: Row, table: Table) -> str:
    """What a variant does otherwise than the baseline: ``tokens 4, pooling average``."""
    if row.variant.is_baseline:
        return "baseline"
    base = table.sweep.baseline.levels
    changed = [f"{factor} {level}" for factor, level in row.variant.levels.items() if level != base.get(factor)]
    return ", ".join(changed) or row.variant.name


def baseline(table: Table) -> str:
    """The baseline by its levels."""
    levels = table.sweep.baseline.levels
    return ", ".join(f"{factor} {level}" for factor, level in levels.items()) or table.sweep.baseline.name


def without(table: Table, key: str) -> list[str]:
    """The variants that have no score there, each with the reason."""
    return [f"{name(row, table)} ({row.status})" for row in table.rows if row.scores.get(key) is None]


def place(
    figure: Figure,
    panel: Axes,
    points: Sequence[tuple[float, float, str]],
    lines: Sequence[tuple[float, float, float, float]] = (),
) -> list[str]:
    """Names points where no other name, point or line is in the way, in order; returns those without room.

    ``lines`` are upright or level, from x, y to x, y. The layout of the figure must be settled: names are placed by
    what is there.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.transforms import Bbox

    renderer = FigureCanvasAgg(figure).get_renderer()
    pixel = figure.dpi / 72.0
    marks = [panel.transData.transform((x, y)) for x, y, _ in points]
    reach = 3.5 * pixel
    taken: list[Bbox] = [Bbox.from_extents(x - reach, y - reach, x + reach, y + reach) for x, y in marks]
    for x0, y0, x1, y1 in lines:
        (left, low), (right, high) = panel.transData.transform([(x0, y0), (x1, y1)])
        taken.append(Bbox.from_extents(min(left, right), min(low, high), max(left, right) + 1, max(low, high) + 1))
    inside = panel.get_window_extent(renderer)
    missed = []
    for number, (x, y, text) in enumerate(points):
        for across, up in _SIDES:
            gap = _GAP if not (across and up) else _GAP * 0.6
            label = panel.annotate(
                text,
                (x, y),
                xytext=(across * gap, up * gap),
                textcoords="offset points",
                ha=_ALIGNED[across][0],
                va=_ALIGNED[up][1],
                fontsize=SMALL,
                in_layout=False,
            )
            box = label.get_window_extent(renderer).padded(_MARGIN)
            fits = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
            if fits and not any(box.overlaps(other) for index, other in enumerate(taken) if index != number):
                taken.append(box)
                break
            label.remove()
        else:
            missed.append(text)
    return missed
