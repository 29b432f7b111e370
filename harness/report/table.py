"""A table as Markdown, and the lines that stand below it in every form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.analysis.claims import claim_results
from harness.analysis.contrasts import Pair, control_result
from harness.analysis.sweeps import ContrastEntry
from harness.analysis.table import Table
from harness.report import cells
from harness.report.answer import answer_lines
from harness.report.effects import effect_lines
from harness.report.markup import escaped, grid
from harness.report.price import price_lines
from harness.report.sheet import NOTHING_BESIDE, Beside, Cell, Sheet, legend_lines, sheets


def markdown(table: Table, beside: Beside = NOTHING_BESIDE) -> str:
    """The table in GitHub's Markdown: scores and costs, differences and controls, claims, notes."""
    sweep = table.sweep
    percent = f"{100 * sweep.confidence:g} %"
    parts = [f"# {escaped(sweep.name)}", ""]
    if sweep.question:
        parts += [escaped(sweep.question), ""]
    parts += [f"Scores in points with {percent} intervals; Δ: paired difference to the baseline.", ""]
    parts += [line for sentence in answer_lines(table) for line in (escaped(sentence), "")]
    first, *others = sheets(table, beside)
    parts += _grid(first)
    for line in legend_lines(table, beside):
        parts += ["", escaped(line)]
    for sheet in others:
        parts += ["", f"## {sheet.title}", "", *_grid(sheet)]
    parts += effect_lines(table)
    contrasts = contrast_lines(table)
    if contrasts:
        parts += ["", "## Contrasts", "", *(f"- {escaped(line)}" for line in contrasts)]
    problems = problem_lines(table)
    if problems:
        parts += ["", "## Not complete", "", *(f"- {escaped(line)}" for line in problems)]
    price = price_lines(table)
    if price:
        parts += ["", "## Price", "", *(f"- {escaped(line)}" for line in price)]
    if table.notes:
        parts += ["", *(f"> {escaped(note)}" for note in table.notes)]
    return "\n".join(parts) + "\n"


def contrast_lines(table: Table) -> list[str]:
    """The claims and the positive control, one line a measured contrast."""
    lines = []
    for result in claim_results(table):
        what = f"{result.claim.id}{_papers(result.published)}: {_words(result.claim.contrast)}"
        lines += [
            f"{what}, expected {result.claim.expect}, measured {_measured(pair, result.pairs)}" for pair in result.pairs
        ]
    control = control_result(table)
    if control is not None:
        decided = {True: ", decided", False: ", NOT decided: this sweep can show nothing", None: ""}
        what = f"positive control: {_words(control.contrast)}"
        lines += [
            f"{what}, measured {_measured(pair, control.pairs)}{decided[control.is_decided]}" for pair in control.pairs
        ]
    return lines


def problem_lines(table: Table) -> list[str]:
    """What keeps rows from being complete, one line a row."""
    return [f"{row.variant.name}: {row.status}, {row.detail}" for row in table.rows if row.status != "complete"]


def _grid(sheet: Sheet) -> list[str]:
    body = [
        [_cell(cell, column < sheet.names or line.origin == "published") for column, cell in enumerate(line.cells)]
        for line in sheet.lines
    ]
    return grid([escaped(name) for name in sheet.head], body, sheet.names)


def _cell(cell: Cell, is_foreign: bool) -> str:
    text = escaped(cell.text) if is_foreign else cell.text
    return f"**{text}**" if cell.is_decided else text


def _words(contrast: ContrastEntry) -> str:
    changes = ", ".join(f"{factor} {first} → {second}" for factor, (first, second) in contrast.levels.items())
    where = ", ".join(f"{factor}={level}" for factor, level in contrast.where.items())
    return f"{cells.title(contrast.benchmark)}, {changes}" + (f" at {where}" if where else "")


def _measured(pair: Pair, pairs: Sequence[Pair]) -> str:
    between = f" ({pair.second} − {pair.first})" if len(pairs) > 1 else ""
    if pair.difference.interval is None:
        return f"nothing yet ({pair.difference.reason}){between}"
    return cells.long(pair.difference.interval, signed=True) + between


def _papers(published: Sequence[Any]) -> str:
    papers = dict.fromkeys(f"{row.get('paper', '')} {row.get('table', '')}".strip() for row in published)
    return f" ({', '.join(papers)})" if papers else ""
