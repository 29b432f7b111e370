"""The primary score against what it costs: which variants nothing else beats at their price."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from harness.analysis.tables.table import Row, Table
from harness.report import cells
from harness.report.figures.labels import name, place, without
from harness.report.figures.style import (
    COLOURS,
    GREY,
    NORMAL,
    PALE,
    SMALL,
    drawing,
    empty,
    heading,
    named,
    settle,
    wrapped_list,
)
from harness.report.quantities import duration, quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[float, float, Row]

COSTS: Sequence[tuple[str, Callable[[Row], float | None], Callable[[float], str]]] = (
    ("training FLOPs", lambda row: row.train_flops, quantity),
    ("training time", lambda row: row.train_seconds, duration),
    ("parameters", lambda row: row.parameters, quantity),
    ("visual tokens an image", lambda row: row.visual_tokens, lambda value: f"{value:g}"),
)
_DECADE = 8.0  # from this ratio on a cost axis is logarithmic


def quality_cost(table: Table) -> Figure:
    """One panel a cost, with the front of the means: filled is what no other variant beats in score and in cost.

    Names stand where they fit, those on the front first.
    """
    primary = table.sweep.primary
    with drawing():
        figure = empty(9.6, 7.4)
        axes: list[Axes] = list(figure.subplots(2, 2, sharey=True).flat)
        drawn = [_draw(panel, table, cost, look) for panel, (_, cost, look) in zip(axes, COSTS, strict=True)]
        for panel, (title, _, _) in zip(axes, COSTS, strict=True):
            panel.set_xlabel(title)
        for panel in axes[::2]:
            panel.set_ylabel(f"{cells.title(primary)} (points)")
        heading(figure, table.sweep.question or table.sweep.name, _caption(table))
        settle(figure)
        for panel, points in zip(axes, drawn, strict=True):
            names = [(x, y, wrapped_list(name(row, table), 24)) for x, y, row in points]
            place(figure, panel, names, _steps(front(points)))
    return figure


def front(points: Sequence[Point]) -> list[Point]:
    """Those that no other point beats: none costs as little and scores as high, and better in one of both."""
    kept = []
    for x, y, row in points:
        beaten = any(a <= x and b >= y and (a, b) != (x, y) for a, b, _ in points)
        if not beaten:
            kept.append((x, y, row))
    return sorted(kept, key=lambda point: point[:2])


def _steps(best: Sequence[Point]) -> list[tuple[float, float, float, float]]:
    """The lines of the front: level to the next cost, then up."""
    lines = []
    for (x, y, _), (cost, score, _) in pairwise(best):
        lines += [(x, y, cost, y), (cost, y, cost, score)]
    return lines


def _draw(panel: Axes, table: Table, cost: Callable[[Row], float | None], look: Callable[[float], str]) -> list[Point]:
    """Draws the points and returns them, those on the front first."""
    points: list[Point] = []
    for row in table.rows:
        score, price = row.scores.get(table.sweep.primary), cost(row)
        if score is None or price is None:
            continue
        points.append((float(price), score.interval.mean, row))
        low, high = score.interval.low, score.interval.high
        if low is not None and high is not None:
            panel.plot([price, price], [low, high], color=PALE, linewidth=1.0, zorder=1)
    best = front(points)
    on_front = {row.variant.name for _, _, row in best}
    if best:
        across, up = [x for x, _, _ in best], [y for _, y, _ in best]
        panel.step(across, up, where="post", color=COLOURS[0], linewidth=1.2, zorder=2)
    for x, y, row in points:
        is_best = row.variant.name in on_front
        panel.plot(
            [x],
            [y],
            marker="D" if row.variant.is_baseline else "o",
            markersize=6,
            markeredgecolor=COLOURS[0] if is_best else "#555555",
            markerfacecolor=COLOURS[0] if is_best else "white",
            zorder=3,
        )
    _scale(panel, [x for x, _, _ in points], look)
    return [*best, *(point for point in points if point[2].variant.name not in on_front)]


def _scale(panel: Axes, costs: Sequence[float], look: Callable[[float], str]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

    if not costs:
        panel.text(0.5, 0.5, "no scores yet", transform=panel.transAxes, ha="center", color=GREY)
        panel.set_xticks([])
        return
    if min(costs) <= 0:
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: look(value)))
        return
    low, high = min(costs), max(costs)
    distinct = sorted(set(costs))
    if high / low >= _DECADE:
        panel.set_xscale("log")
        panel.set_xlim(low / 1.35, high * 1.9)  # room for names on the right
        panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.xaxis.set_minor_locator(NullLocator())
    else:
        room = max(high - low, 0.05 * high)  # a difference of less than that is no difference in price
        panel.set_xlim(low - 0.12 * room, high + 0.35 * room)
        panel.xaxis.set_major_locator(MaxNLocator(5))
    if len(distinct) <= 5 and all(second / first > 1.25 for first, second in pairwise(distinct)):
        panel.xaxis.set_major_locator(FixedLocator(distinct))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: look(value)))
    panel.tick_params(axis="x", labelsize=SMALL + 0.5)
    panel.tick_params(axis="y", labelsize=SMALL + 0.5, labelleft=True)
    panel.title.set_fontsize(NORMAL)


def _caption(table: Table) -> str:
    text = (
        f"filled: no other variant scores higher for less (of the means); diamond: baseline; grey bars:"
        f" {100 * table.sweep.confidence:g} % intervals of each score, not of differences; named where there is room"
    )
    lacking = without(table, table.sweep.primary)
    if lacking:
        text += f"; no score: {named(lacking)}"
    untimed = [
        name(row, table) for row in table.rows if row.train_seconds is None and row.scores.get(table.sweep.primary)
    ]
    return text + (f"; no training time: {named(untimed)}" if untimed else "")
