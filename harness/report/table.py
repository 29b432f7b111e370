"""A table as Markdown, and the lines that stand below it in every form."""

from __future__ import annotations

from harness.analysis.claims.results import claim_results
from harness.analysis.tables.contrasts import control_result
from harness.analysis.tables.table import Table
from harness.report.answer import answer_lines
from harness.report.claims import claim_lines, contrast_words, pair_words
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
    """The claims with their verdicts and the positive control; where a claim has several pairs, a line for each."""
    lines = claim_lines(claim_results(table))
    control = control_result(table)
    if control is not None:
        decided = {True: ", decided", False: ", NOT decided: this sweep can show nothing", None: ""}
        what = f"positive control: {contrast_words(control.contrast)}"
        are_several = len(control.pairs) > 1
        lines += [
            f"{what}, measured {pair_words(pair, are_several)}{decided[control.is_decided]}" for pair in control.pairs
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
