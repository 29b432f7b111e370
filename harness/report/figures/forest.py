"""Every variant's difference to the baseline with its interval and verdict."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from harness.analysis.statistics.differences import Difference
from harness.analysis.tables.table import Row, Table
from harness.report import cells
from harness.report.figures.labels import baseline
from harness.report.figures.rows import MOST, absent, keys, panels
from harness.report.figures.style import GREY, SMALL, drawing, heading, plain, settle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS = {
    "better": ("#0072B2", ">"),
    "worse": ("#D55E00", "<"),
    "equivalent": ("#009E73", "s"),
    "inconclusive": (GREY, "o"),
}
"""Colour and marker of a verdict; the marker is filled when the difference is decided."""

_METHODS = {
    "holm": "corrected for the family (Holm)",
    "max-t": "corrected for the family (max-T)",
    "none": "uncorrected",
}


def forest(table: Table) -> Figure:
    """Differences to the baseline, a panel a benchmark, the primary score first and with its numbers.

    A thick bar is the interval; a thin one, with one seed, what the known seed noise adds to it. The band is ± the
    smallest effect that matters, an arrow an interval that goes on outside the panel.
    """
    rows, others = _shown(table)
    shown = keys(table)
    with drawing():
        figure, axes, heights = panels(rows, table, [2.5, *[1.75] * (len(shown) - 1)], shown)
        for panel, key in zip(axes, shown, strict=True):
            _draw(panel, key, rows, heights, table.sweep.min_effect, is_first=key == shown[0])
        heading(figure, table.sweep.question or table.sweep.name, _caption(table, others))
        settle(figure)
    return figure


def _shown(table: Table) -> tuple[list[Row], int]:
    """The rows that fit, in the order of the table, and how many do not: those nearest to the baseline."""
    rows = [row for row in table.rows if not row.variant.is_baseline]
    if len(rows) <= MOST:
        return rows, 0
    far = sorted(range(len(rows)), key=lambda n: -abs(_mean(rows[n].difference.get(table.sweep.primary))))
    kept = set(far[:MOST])
    return [row for number, row in enumerate(rows) if number in kept], len(rows) - MOST


def _mean(found: Difference | None) -> float:
    return found.interval.mean if found is not None and found.interval is not None else 0.0


def _draw(
    panel: Axes, key: str, rows: Sequence[Row], heights: Sequence[float], min_effect: float, is_first: bool
) -> None:
    found = [row.difference.get(key, Difference(None)) for row in rows]
    limit = _limit(found, min_effect)
    panel.set_xlim(-limit, limit)
    panel.axvspan(-min_effect, min_effect, color="#e4ecf2", zorder=0.5, linewidth=0)
    panel.axvline(0.0, color="#444444", linewidth=0.8, zorder=1)
    for row, each, height in zip(rows, found, heights, strict=True):
        if each.interval is None:
            absent(panel, height, row.status if row.scores.get(key) is None else each.reason or "no score yet")
        else:
            _mark(panel, height, each, limit, is_first)
    panel.set_xlabel("points", fontsize=SMALL + 0.5)


def _mark(panel: Axes, height: float, each: Difference, limit: float, is_first: bool) -> None:
    interval, judged = each.interval, each.judged
    assert interval is not None
    verdict = each.verdict or "inconclusive"
    colour, marker = LOOKS[verdict]
    for bounds, width in ((judged, 0.8), (interval, 2.0)):
        if bounds is not None and bounds.low is not None and bounds.high is not None:
            panel.plot(
                [bounds.low, bounds.high], [height, height], color=colour, linewidth=width, solid_capstyle="butt"
            )
            for end, arrow in ((bounds.low, "<"), (bounds.high, ">")):
                if abs(end) > limit:
                    side = limit if end > 0 else -limit
                    panel.plot([side], [height], marker=arrow, color=colour, markersize=4, clip_on=False)
    decided = verdict != "inconclusive"
    panel.plot(
        [interval.mean],
        [height],
        marker=marker,
        color=colour,
        markerfacecolor=colour if decided else "white",
        markersize=5.5,
        linestyle="none",
        zorder=3,
    )
    words = plain(f"{cells.long(judged, signed=True)}  {verdict}" if is_first else verdict)
    panel.text(
        1.02, height, words, transform=panel.get_yaxis_transform(), va="center", fontsize=SMALL - 0.5, color=colour
    )


def _limit(found: Sequence[Difference], min_effect: float) -> float:
    """Half the width of a panel: all means, and the intervals as long as a few wide ones do not hide the others."""
    intervals = [each.judged for each in found if each.judged is not None]
    ends = [max(abs(each.low), abs(each.high)) for each in intervals if each.low is not None and each.high is not None]
    means = [abs(each.mean) for each in intervals]
    wanted = max([1.5 * min_effect, 1.0, *(1.15 * mean for mean in means)])
    if ends:
        wanted = max(wanted, min(max(ends), max(2.5 * max(means), 2.0 * median(ends))))
    return 1.06 * wanted


def _caption(table: Table, others: int) -> str:
    sweep = table.sweep
    seeds = sorted({len(row.seeds) for row in table.rows})
    kind = "conditional on one trained model each" if seeds == [1] else f"over {_range(seeds)} training seeds"
    if seeds == [0]:
        kind = "no scores yet"
    elif any(each.floor is not None for row in table.rows for each in row.difference.values()):
        kind += f" (thick) and allowing for the seed noise of the scale {sweep.scale} (thin)"
    text = (
        f"difference to the baseline ({baseline(table)}) with {100 * sweep.confidence:g} % intervals, {kind}; filled:"
        f" decided, {_METHODS[sweep.correction]}; band: ±{sweep.min_effect:g} points, the smallest effect that matters"
    )
    if others:
        text += f"; the {len(table.rows) - 1 - others:,} variants furthest from the baseline of {len(table.rows) - 1:,}"
    return text


def _range(seeds: Sequence[int]) -> str:
    return str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
