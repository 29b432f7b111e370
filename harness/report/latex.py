"""A table as LaTeX, set with booktabs as papers print them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.analysis.tables.table import Table
from harness.report.latex_text import escaped
from harness.report.sheet import METHODS, NOTHING_BESIDE, Beside, Cell, Line, Sheet, legend_lines, sheets
from harness.report.table import problem_lines


def latex(table: Table, beside: Beside = NOTHING_BESIDE) -> str:
    r"""Floats to ``\input``, one a grid: the wide one with caption and notes, then differences, averages, parts."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", table.sweep.name).strip("-")
    first, *others = sheets(table, beside, brief=True)
    notes = [*legend_lines(table, beside), *problem_lines(table), *table.notes]
    parts = [
        r"% \usepackage{booktabs,graphicx}",
        *_float(first, _caption(table), f"tab:{name}", notes),
    ]
    for sheet in others:
        caption = f"{escaped(sheet.title)}; intervals, marks and seeds as in Table~\\ref{{tab:{name}}}."
        label = re.sub(r"[^a-z]+", "-", sheet.title.lower())
        parts += ["", *_float(sheet, caption, f"tab:{name}-{label}", ())]
    return "\n".join(parts) + "\n"


def _caption(table: Table) -> str:
    sweep = table.sweep
    percent = f"{100 * sweep.confidence:g} %"
    counts = sorted({len(row.seeds) for row in table.rows if row.seeds})
    seeds = ", ".join(str(seed) for seed in sorted({seed for row in table.rows for seed in row.seeds}))
    over = [f"Student's t over the seeds ({seeds})"] if counts and counts[-1] > 1 else []
    if 1 in counts:
        one = f"seed {seeds}" if counts == [1] else "where there is one seed"
        over.append(f"from the samples, conditional on the trained model ({one})")
    kind = f", {'; '.join(over)}" if over else ""
    family = sum(not row.variant.is_baseline for row in table.rows)
    method = METHODS.get(sweep.correction)
    corrected = (
        "not corrected" if method is None else f"corrected by {method} over {family} variant{'s' * (family != 1)}"
    )
    text = (
        f"{sweep.question or sweep.name} Scores in points with {percent} intervals{kind}. Δ: paired difference to the"
        f" baseline, bold where it is better or worse ({corrected})."
    )
    return escaped(text)


def _float(sheet: Sheet, caption: str, label: str, notes: Sequence[str]) -> list[str]:
    columns = "l" * sheet.names + "r" * (len(sheet.head) - sheet.names)
    body: list[str] = []
    heading = ""
    for line in sheet.lines:
        if line.heading != heading:
            heading = line.heading
            across = f"\\multicolumn{{{len(sheet.head)}}}{{@{{}}l@{{}}}}{{\\emph{{{escaped(heading)}}}}}"
            body += [r"\midrule", f"{across} \\\\"]
        body.append(_row(line, sheet.names))
    return [
        r"\begin{table}[t]",
        r"\centering",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{4pt}",
        f"\\caption{{{caption}}}",
        f"\\label{{{label}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",  # only what is too wide is made smaller
        f"\\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"\toprule",
        " & ".join(escaped(name) for name in sheet.head) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
        *([r"\par\smallskip", r"\parbox{\linewidth}{\scriptsize", *_paragraphs(notes), "}"] if notes else []),
        r"\end{table}",
    ]


def _row(line: Line, names: int) -> str:
    cells = [_cell(cell) for cell in line.cells]
    if line.heading:
        cells = [f"\\multicolumn{{{names}}}{{@{{}}l}}{{{escaped(line.label)}}}", *cells[names:]]
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell) -> str:
    text = escaped(cell.text)
    return f"\\textbf{{\\boldmath {text}}}" if cell.is_decided else text


def _paragraphs(notes: Sequence[str]) -> list[str]:
    return [f"{escaped(note)}\\par" for note in notes]
