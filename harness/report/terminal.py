"""A table for the terminal: three lines a variant (score, difference to the baseline, best blind control)."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from harness.analysis.table import MEAN, Row, Table
from harness.report import cells
from harness.report.quantities import duration, quantity
from harness.report.table import contrast_lines, problem_lines

STYLES = {"diverged": "red", "failed": "red", "running": "yellow", "incomplete": "yellow", "missing": "dim"}


def render(table: Table, brief: bool = False) -> RenderableType:
    """The table with its contrasts and notes; ``brief`` leaves those out (the live view). Fits 120 columns."""
    keys = (*table.sweep.tasks, MEAN)
    grid = Grid(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    grid.add_column("variant", overflow="fold", max_width=30)
    grid.add_column("")
    for key in keys:
        grid.add_column(cells.title(key), justify="right", no_wrap=True)
    grid.add_column("parameters", justify="right", no_wrap=True)
    grid.add_column("tokens", justify="right", no_wrap=True)
    grid.add_column("training", justify="right", no_wrap=True)
    for row in table.rows:
        grid.add_row(*_row(row, keys))
    if brief:
        return grid
    parts: list[RenderableType] = [grid]
    for heading, lines in (("Contrasts", contrast_lines(table)), ("Not complete", problem_lines(table))):
        if lines:
            parts += [Text(""), Text(heading, style="bold"), *(_item(line) for line in lines)]
    if table.notes:
        parts += [Text(""), *(Text(note, style="dim") for note in table.notes)]
    return Group(*parts)


def _row(row: Row, keys: tuple[str, ...]) -> list[Text]:
    variant = Text("\n".join(f"{factor}={level}" for factor, level in row.variant.levels.items()) or "the only variant")
    variant.append("\n")
    variant.append("baseline, " if row.variant.is_baseline else "", style="bold")
    variant.append(f"{cells.seeds(row)} seeds", style="dim")
    if row.status != "complete":
        variant.append(f"\n{row.status}", style=STYLES.get(row.status, ""))
    scores = []
    for key in keys:
        cell = Text(cells.score(row.scores.get(key), brief=True), style="bold" if key == MEAN else "")
        cell.append("\n" + cells.difference(row.difference.get(key), row, brief=True), style="not bold")
        cell.append("\n" + cells.blind(row.scores.get(key)), style="not bold dim")
        scores.append(cell)
    labels = Text("score\nΔ\nblind", style="dim")
    parameters = Text(f"{quantity(row.parameters)}\n{quantity(row.trainable)} tr.")
    training = Text(f"{quantity(row.train_flops)}FLOPs\n{duration(row.train_seconds)}")
    return [variant, labels, *scores, parameters, Text(str(row.visual_tokens)), training]


def _item(line: str) -> Grid:
    """A line that is indented where it wraps."""
    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_row("•", Text(line))
    return grid
