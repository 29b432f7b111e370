"""A table as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

from harness.analysis.claims import claim_results
from harness.analysis.contrasts import Pair, control_result
from harness.analysis.sweeps import ContrastEntry
from harness.analysis.table import MEAN, Row, Table
from harness.report import cells
from harness.report.effects import effect_lines
from harness.report.markup import escaped as _escaped
from harness.report.markup import grid as _grid
from harness.report.quantities import duration, quantity

_FORMULA = re.compile(r"^\s*[=+\-@\t\r\n|%]")


def markdown(table: Table) -> str:
    """The table in GitHub's Markdown: scores and costs, differences and controls, claims, notes."""
    sweep = table.sweep
    keys = (*sweep.tasks, MEAN)
    factors = list(sweep.factors)
    shown = [_escaped(factor) for factor in factors]
    titles = [cells.title(key) for key in keys]
    percent = f"{100 * sweep.confidence:g} %"

    head = [
        *shown,
        *titles,
        "Δ mean",
        "blind",
        "parameters",
        "trained",
        "visual tokens",
        "train FLOPs",
        "train time",
        "seeds",
    ]
    body = [
        [
            *_shown_levels(row, factors),
            *(cells.score(row.scores.get(key)) for key in keys),
            cells.difference(row.difference.get(MEAN), row),
            cells.blind(row.scores.get(MEAN)),
            quantity(row.parameters),
            quantity(row.trainable),
            str(row.visual_tokens),
            quantity(row.train_flops),
            duration(row.train_seconds),
            cells.seeds(row) + _flag(row),
        ]
        for row in table.rows
    ]
    parts = [f"# {_escaped(sweep.name)}", ""]
    if sweep.question:
        parts += [_escaped(sweep.question), ""]
    parts += [f"Scores in points with {percent} intervals; Δ: paired difference to the baseline.", ""]
    parts += _grid(head, body, len(factors))
    parts += ["", "## By benchmark", ""]
    head = [*shown, *(f"Δ {name}" for name in titles[:-1]), *(f"blind {name}" for name in titles[:-1])]
    body = [
        [
            *_shown_levels(row, factors),
            *(cells.difference(row.difference.get(task), row) for task in sweep.tasks),
            *(cells.blind(row.scores.get(task)) for task in sweep.tasks),
        ]
        for row in table.rows
    ]
    parts += _grid(head, body, len(factors))
    subsets = [(task, name) for task in sweep.tasks for name in _subset_names(table, task)]
    if subsets:
        parts += ["", "## Parts of a benchmark", ""]
        head = [*shown, *(f"{cells.title(task)} {_escaped(name)} (blind)" for task, name in subsets)]
        body = []
        for row in table.rows:
            found = [row.subsets.get(task, {}).get(name) for task, name in subsets]
            texts = [f"{cells.score(part)} ({cells.blind(part)})" if part else cells.NOTHING for part in found]
            body.append([*_shown_levels(row, factors), *texts])
        parts += _grid(head, body, len(factors))
    parts += effect_lines(table)
    contrasts = contrast_lines(table)
    if contrasts:
        parts += ["", "## Contrasts", "", *(f"- {_escaped(line)}" for line in contrasts)]
    problems = problem_lines(table)
    if problems:
        parts += ["", "## Not complete", "", *(f"- {_escaped(line)}" for line in problems)]
    if table.notes:
        parts += ["", *(f"> {_escaped(note)}" for note in table.notes)]
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


def csv_text(table: Table) -> str:
    """One line a variant, numbers as numbers; text that a spreadsheet would take for a formula is quoted."""
    sweep = table.sweep
    keys = (*sweep.tasks, MEAN)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    head: list[str] = [*sweep.factors, "baseline", "status", "seeds"]
    for key in keys:
        head += [key, f"{key}_low", f"{key}_high", f"{key}_n", f"{key}_blind"]
        head += [f"{key}_difference", f"{key}_difference_low", f"{key}_difference_high"]
    head += ["parameters", "trainable", "visual_tokens", "train_flops", "train_seconds", "core_seconds"]
    writer.writerow([_safe(cell) for cell in head])
    for row in table.rows:
        values: list[Any] = [*_levels(row, list(sweep.factors)), row.variant.is_baseline, row.status, len(row.seeds)]
        content = row.to_json()
        for key in keys:
            score, difference = content["scores"][key], content["difference"][key]
            values += [score["mean"], score["low"], score["high"], score["n"], score["blind"]]
            values += [difference["mean"], difference["low"], difference["high"]]
        values += [row.parameters, row.trainable, row.visual_tokens]
        values += [content["train_flops"], content["train_seconds"], content["core_seconds"]]
        writer.writerow([_safe(value) for value in values])
    return buffer.getvalue()


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if _FORMULA.match(value) else value
    return "" if value is None else value


def _levels(row: Row, factors: Sequence[str]) -> list[str]:
    return [row.variant.levels.get(factor, "") for factor in factors]


def _shown_levels(row: Row, factors: Sequence[str]) -> list[str]:
    return [_escaped(level) for level in _levels(row, factors)]


def _flag(row: Row) -> str:
    return "" if row.status == "complete" else f" ({row.status})"


def _subset_names(table: Table, task: str) -> list[str]:
    return sorted({name for row in table.rows for name in row.subsets.get(task, {})})


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
