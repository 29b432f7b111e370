"""Cell means of two factors: parallel lines are factors that do not depend on each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from harness.analysis.statistics.differences import contrast
from harness.analysis.statistics.intervals import Interval
from harness.analysis.stored.sweeps import VariantEntry
from harness.analysis.tables.effects import Effects, effects
from harness.analysis.tables.table import MEAN, Row, Table
from harness.report import cells
from harness.report.figures.style import GREY, NORMAL, SMALL, drawing, empty, heading, looks, named, settle, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 9
"""Panels: pairs of factors."""

_COLUMNS = 3
_LETTERS = 14  # of a level below the axis


@dataclass(frozen=True)
class Grid:
    """Two factors, their levels, and by both levels the mean over the cells of all other factors.

    ``cells`` is how many of those have every combination; ``absent`` are combinations without a mean.
    """

    across: str
    lines: str
    means: Mapping[tuple[str, str], Interval]
    cells: int
    absent: tuple[str, ...]


def interactions(table: Table) -> Figure:
    """One panel a pair of factors, the primary score. Bars are intervals of the cells, not of their differences."""
    grids = [found for pair in combinations(table.sweep.factors, 2) if (found := grid(table, *pair)) is not None]
    judged = effects(table)
    shown = grids[:MOST]
    columns = min(_COLUMNS, max(1, len(shown)))
    lines = max(1, -(-len(shown) // columns))
    with drawing():
        figure = empty(max(6.0, 4.4 * columns), 3.4 * lines + 0.7)
        axes: list[Axes] = list(figure.subplots(lines, columns, squeeze=False).flat)
        for panel, each in zip(axes, shown, strict=False):
            _draw(panel, each, table, judged)
        for panel in axes[len(shown) :]:
            panel.set_axis_off()
        if not shown:
            axes[0].text(0.5, 0.5, "no two factors are crossed", ha="center", color=GREY)
        heading(figure, table.sweep.question or table.sweep.name, _caption(table, shown, len(grids) - len(shown)))
        settle(figure)
    return figure


def is_crossed(table: Table) -> bool:
    """Whether the design has two levels of one factor at two levels of another."""
    return any(grid(table, *pair) is not None for pair in combinations(table.sweep.factors, 2))


def grid(table: Table, first: str, second: str) -> Grid | None:
    """The cell means of two factors; ``None`` where the design never has two levels of each in all combinations."""
    sweep = table.sweep
    across, lines = sorted((first, second), key=lambda factor: -len(sweep.factors[factor]))
    rows = {row.variant.name: row for row in table.rows}
    by_rest: dict[tuple[tuple[str, str], ...], dict[tuple[str, str], VariantEntry]] = {}
    for variant in sweep.variants:
        if across in variant.levels and lines in variant.levels:
            rest = tuple(sorted(item for item in variant.levels.items() if item[0] not in (across, lines)))
            by_rest.setdefault(rest, {})[variant.levels[across], variant.levels[lines]] = variant
    wanted = {(x, y) for x in sweep.factors[across] for y in sweep.factors[lines]}
    whole = [found for found in by_rest.values() if found.keys() == wanted]
    if not whole or min(len(sweep.factors[across]), len(sweep.factors[lines])) < 2:
        return None
    tasks = sweep.tasks if sweep.primary == MEAN else (sweep.primary,)
    usable = [found for found in whole if all(rows[v.name].runs.scored(tasks) for v in found.values())]
    used = usable or whole  # with a gap in every one of them, the combinations that are there are shown
    means: dict[tuple[str, str], Interval] = {}
    absent = []
    for x, y in sorted(wanted):
        members = [rows[found[x, y].name] for found in used]
        interval = _mean(table, members, tasks)
        if interval is None:
            absent.append(f"{across} {x}, {lines} {y} ({_status(members)})")
        else:
            means[x, y] = interval
    gaps = [rows[v.name] for found in whole if usable and found not in usable for v in found.values()]
    absent += [f"{row.variant.name} ({row.status})" for row in gaps if row.scores.get(sweep.primary) is None]
    return Grid(across, lines, means, len(used), tuple(absent))


def _mean(table: Table, members: Sequence[Row], tasks: Sequence[str]) -> Interval | None:
    terms = [(1.0 / len(members), row.runs.scored(tasks)) for row in members]
    return contrast(terms, table.sweep.confidence).interval


def _status(rows: Sequence[Row]) -> str:
    return next((row.status for row in rows if row.status != "complete"), "no seed in common")


def _draw(panel: Axes, found: Grid, table: Table, judged: Effects) -> None:
    across, lines = table.sweep.factors[found.across], table.sweep.factors[found.lines]
    base = table.sweep.baseline.levels
    for number, level in enumerate(lines):
        shift = 0.07 * (number - (len(lines) - 1) / 2)
        there = [(n + shift, found.means[x, level]) for n, x in enumerate(across) if (x, level) in found.means]
        if not there:
            continue
        below = [each.mean - each.low if each.low is not None else 0.0 for _, each in there]
        above = [each.high - each.mean if each.high is not None else 0.0 for _, each in there]
        label = wrapped(f"{found.lines} {level}" + (" (baseline)" if level == base.get(found.lines) else ""), 18)
        panel.errorbar(
            [x for x, _ in there],
            [each.mean for _, each in there],
            yerr=(below, above),
            label=label,
            markersize=5,
            linewidth=1.3,
            capsize=2.5,
            elinewidth=1.0,
            **looks(number),
        )
    panel.set_xticks(range(len(across)), [wrapped(level, _LETTERS) for level in across], fontsize=SMALL + 0.5)
    if len(across) > 6:
        panel.tick_params(axis="x", rotation=90)
    panel.set_xlim(-0.4, len(across) - 0.6)
    panel.set_xlabel(wrapped(found.across, 40))
    panel.set_ylabel(f"{cells.title(table.sweep.primary)} (points)")
    panel.set_title(_title(found, table, judged), fontsize=NORMAL - 0.5)
    if not found.means:
        panel.set_yticks([])
        panel.text(0.5, 0.5, "no scores yet", transform=panel.transAxes, ha="center", color=GREY)
    else:
        panel.legend(fontsize=SMALL, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _title(found: Grid, table: Table, judged: Effects) -> str:
    text = wrapped(f"{found.across} × {found.lines}", 44)
    if found.cells > 1:
        text += f"\nmeans over {found.cells} cells"
    members = [each for each in judged.interactions if set(each.levels) == {found.across, found.lines}]
    differences = [each.averages[table.sweep.primary].difference for each in members]
    if len(differences) == 1 and differences[0].verdict is not None:
        return (
            text
            + f"\ninteraction {cells.long(differences[0].judged, signed=True)}: {cells.interaction(differences[0])}"
        )
    if any(each.verdict is not None for each in differences):
        decided = sum(each.verdict in ("better", "worse") for each in differences)
        return text + f"\n{decided} of {len(differences)} interactions decided"
    return text


def _caption(table: Table, shown: Sequence[Grid], others: int) -> str:
    text = (
        f"bars: {100 * table.sweep.confidence:g} % intervals of each mean, not of differences; parallel lines: no"
        " interaction"
    )
    absent = list(dict.fromkeys(name for each in shown for name in each.absent))
    if absent:
        text += f"; no score: {named(absent)}"
    return text + (f"; {others} more pairs of factors are in the table" if others else "")
