"""A table for the terminal: three lines a variant (score, difference to the baseline, best blind control).

Where the terminal is too narrow for all columns, the costs stand in a grid of their own, then the benchmarks too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from harness.analysis.tables.table import MEAN, Row, Table
from harness.report import cells
from harness.report.answer import answer_lines
from harness.report.layout import width
from harness.report.markup import plain
from harness.report.price import price_lines
from harness.report.quantities import duration, quantity
from harness.report.sheet import (
    NOTHING_BESIDE,
    Beside,
    Line,
    averages_sheet,
    legend_lines,
    score_text,
)
from harness.report.table import contrast_lines, problem_lines

DECIDED = "*"
"""Before a difference that is better or worse: bold does not survive a pipe."""

STYLES = {"diverged": "red", "failed": "red", "running": "yellow", "incomplete": "yellow", "missing": "dim"}


@dataclass(frozen=True)
class _Cost:
    """A column of costs: a line or two a variant."""

    head: str
    text: Callable[[Row], str]


COSTS = (
    _Cost("parameters", lambda row: f"{quantity(row.parameters)}\n{quantity(row.trainable)} tr."),
    _Cost("tokens", lambda row: str(row.visual_tokens)),
    _Cost("training", lambda row: f"{quantity(row.train_flops)}FLOPs\n{duration(row.train_seconds)}"),
)


TRAINING = "training: FLOPs and time of one run's training, the mean over seeds; evaluation is not in it."


def render(table: Table, brief: bool = False, beside: Beside = NOTHING_BESIDE) -> RenderableType:
    """The table with its contrasts and notes; ``brief`` leaves those out (the live view)."""
    grid = _Fitting(table, beside)
    if brief:
        return grid
    parts: list[RenderableType] = [grid]
    averages = averages_sheet(table, beside)
    if averages is not None:
        parts += [
            Text(""),
            Text(averages.title, style="bold"),
            _plain_grid(averages.head, averages.names, averages.lines),
        ]
    sections = (
        ("Answer", answer_lines(table)),
        ("Contrasts", contrast_lines(table)),
        ("Price", price_lines(table)),
        ("Not complete", problem_lines(table)),
    )
    for heading, lines in sections:
        if lines:
            parts += [Text(""), Text(heading, style="bold"), *(_item(line) for line in lines)]
    notes = legend_lines(table, beside, "Levels that are not named are the baseline's.", DECIDED)
    notes += [TRAINING] if any(cost.head == "training" for cost in _costs(table)) else []
    notes += table.notes
    if notes:
        parts += [Text(""), *(Text(plain(note), style="dim") for note in notes)]
    return Group(*parts)


@dataclass(frozen=True)
class _Fitting:
    """The grid, or as many as the width asks for."""

    table: Table
    beside: Beside

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        keys = (*self.table.sweep.tasks, MEAN)
        costs = _costs(self.table)
        found = [_grid(self.table, self.beside, keys, costs)]
        size = len(keys)
        while not _fits(found, console, options) and size:
            found = [
                *(_grid(self.table, self.beside, keys[at : at + size], ()) for at in range(0, len(keys), size)),
                *([_grid(self.table, NOTHING_BESIDE, (), costs)] if costs else []),
            ]
            size -= 1
        for number, grid in enumerate(found):
            if number:
                yield Text("")
            yield grid


def _fits(grids: Sequence[Grid], console: Console, options: ConsoleOptions) -> bool:
    return all(
        Measurement.get(console, options.update(width=10_000), grid).minimum <= options.max_width for grid in grids
    )


def _costs(table: Table) -> tuple[_Cost, ...]:
    if len(table.rows) < 2:
        return COSTS
    return tuple(cost for cost in COSTS if len({cost.text(row) for row in table.rows}) > 1)


def _grid(table: Table, beside: Beside, keys: Sequence[str], costs: Sequence[_Cost]) -> Grid:
    rows = [_row(row, table, keys, costs) for row in table.rows]
    rows += _rows_beside(table, beside, keys, costs)
    heads = [*([""] if keys else []), *(cells.title(key) for key in keys), *(cost.head for cost in costs)]
    grid = Grid(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    # Levels may be folded anywhere, a verdict not: "inconclusive (27" would stand above "seeds)".
    verdicts = [cells.verdict(row.difference.get(table.sweep.primary)) for row in table.rows]
    grid.add_column("variant", overflow="fold", min_width=max(12, *map(width, verdicts)), max_width=30)
    for number, head in enumerate(heads, 1):
        # The width is set: rich would rather cut the last column than admit that a grid does not fit.
        widest = max(width(line) for text in [head, *(row[number].plain for row in rows)] for line in text.split("\n"))
        grid.add_column(Text(head), justify="right" if head else "left", no_wrap=True, min_width=widest)
    for row in rows:
        grid.add_row(*row)
    return grid


def _rows_beside(table: Table, beside: Beside, keys: Sequence[str], costs: Sequence[_Cost]) -> list[list[Text]]:
    rows = []
    nothing = [Text(cells.NOTHING, style="dim")] * len(costs)
    for model in beside.imported:
        name = Text(f"imported\n{plain(model.name)}\n")
        name.append(cells.verdict(model.difference.get(table.sweep.primary)))
        scores = []
        for key in keys:
            score, found = model.scores.get(key), model.difference.get(key)
            cell = Text(cells.score(score, brief=True) if score is not None else "not imported")
            is_decided = cells.is_decided(found)
            cell.append("\n" + DECIDED * is_decided + cells.change(found, brief=True), style=_weight(is_decided))
            scores.append(cell)
        rows.append([name, Text("score\nΔ", style="dim"), *scores, *nothing])
    for printed in beside.published:
        name = Text(plain(f"published {printed.paper} {printed.table}, {printed.protocol}"), style="dim")
        name.append("\n" + plain(printed.variant), style="not dim")
        values = [Text(plain(printed.values.get(key, cells.NOTHING))) for key in keys]
        rows.append([name, Text("printed", style="dim"), *values, *nothing])
    return rows


def _row(row: Row, table: Table, keys: Sequence[str], costs: Sequence[_Cost]) -> list[Text]:
    variant = Text("\n".join(plain(line) for line in _levels(row, table)))
    variant.append(f"\n{'baseline, ' if row.variant.is_baseline else ''}")
    variant.append(f"{cells.seeds(row)} seeds", style="dim")
    if row.status != "complete":
        variant.append(f"\n{row.status}", style=STYLES.get(row.status, ""))
    found = row.difference.get(table.sweep.primary)
    if not row.variant.is_baseline and found is not None and found.verdict is not None:
        variant.append(f"\n{cells.verdict(found)}")
    scores = []
    for key in keys:
        change = row.difference.get(key)
        is_decided = not row.variant.is_baseline and cells.is_decided(change)
        cell = Text(score_text(row, key, brief=True))
        cell.append("\n" + DECIDED * is_decided + cells.difference(change, row, brief=True), style=_weight(is_decided))
        cell.append("\n" + cells.blind(row.scores.get(key)), style="dim")
        scores.append(cell)
    labels = [Text("score\nΔ\nblind", style="dim")] if keys else []
    return [variant, *labels, *scores, *(Text(cost.text(row)) for cost in costs)]


def _weight(is_decided: bool) -> str:
    return "bold" if is_decided else ""


def _levels(row: Row, table: Table) -> list[str]:
    """Of the baseline all levels, of the others those that differ."""
    base = table.sweep.baseline.levels
    levels = row.variant.levels
    if row.variant.is_baseline or len(levels) < 2:
        shown = dict(levels)
    else:
        shown = {factor: level for factor, level in levels.items() if base.get(factor) != level}
    return [f"{factor}={level}" for factor, level in shown.items()] or ["the only variant"]


def _plain_grid(head: Sequence[str], names: int, lines: Sequence[Line]) -> Grid:
    grid = Grid(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for number, name in enumerate(head):
        grid.add_column(Text(plain(name)), justify="left" if number < names else "right", overflow="fold")
    for line in lines:
        grid.add_row(*(Text(plain(cell.text)) for cell in line.cells))
    return grid


def _item(line: str) -> Grid:
    """A line that is indented where it wraps."""
    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_row("•", Text(plain(line)))
    return grid
