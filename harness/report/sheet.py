"""What a table shows, before any format: which columns, which cells, which lines below. Formats only write it down.

Only what differs is shown: a level that is the baseline's is a dot, a cost that all variants share is said once below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from harness.analysis.statistics.differences import Difference
from harness.analysis.tables.imported import ImportedRow
from harness.analysis.tables.means import ranking_note
from harness.analysis.tables.published import PublishedRow
from harness.analysis.tables.table import MEAN, Row, Score, Table
from harness.report import cells
from harness.report.quantities import duration, quantity

METHODS = {"holm": "Holm", "max-t": "max-T"}
ONLY = "the only variant"


@dataclass(frozen=True)
class Beside:
    """What stands beside the variants on request, and whether the other averages are asked for."""

    imported: tuple[ImportedRow, ...] = ()
    published: tuple[PublishedRow, ...] = ()
    averages: bool = False


NOTHING_BESIDE = Beside()


@dataclass(frozen=True)
class Cell:
    """A text; ``is_decided`` when it is a difference that may be bold."""

    text: str
    is_decided: bool = False


@dataclass(frozen=True)
class Line:
    """The cells of a row, and where it comes from.

    A row that is no variant has a ``heading`` that it shares with its like and a ``label`` of its own, for formats that
    can set a line across all columns; its first cell says both.
    """

    cells: tuple[Cell, ...]
    origin: Literal["variant", "imported", "published"] = "variant"
    heading: str = ""
    label: str = ""


@dataclass(frozen=True)
class Sheet:
    """A grid of which the first ``names`` columns are names, the others numbers and our own words."""

    title: str
    head: tuple[str, ...]
    names: int
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Cost:
    """A column of costs; ``phrase`` puts its value into a sentence."""

    head: str
    text: Callable[[Row], str]
    phrase: str
    is_measured: bool = False


COSTS = (
    Cost("parameters", lambda row: quantity(row.parameters), "{} parameters"),
    Cost("trained", lambda row: quantity(row.trainable), "{} of them trained"),
    Cost("visual tokens", lambda row: str(row.visual_tokens), "{} visual tokens an image"),
    Cost("train FLOPs", lambda row: quantity(row.train_flops), "{}FLOPs of training"),
    Cost("train time", lambda row: duration(row.train_seconds), "{}", is_measured=True),
    Cost("seeds", lambda row: seeds_with_status(row), "{} seeds"),
)


def seeds_with_status(row: Row) -> str:
    """``1/3 (running)``."""
    return cells.seeds(row) + ("" if row.status == "complete" else f" ({row.status})")


def differing_costs(table: Table) -> tuple[Cost, ...]:
    """The costs that are not the same for all variants; measured times always, incomplete seeds too."""
    return tuple(cost for cost in COSTS if not _is_constant(cost, table))


def constants_line(table: Table) -> str:
    """What all variants share, in one line; empty when there is nothing."""
    shared = [cost.phrase.format(cost.text(table.rows[0])) for cost in COSTS if _is_constant(cost, table)]
    return f"The same for all variants: {', '.join(shared)}." if shared else ""


def _is_constant(cost: Cost, table: Table) -> bool:
    if len(table.rows) < 2 or cost.is_measured:
        return False
    if cost.head == "seeds" and any(row.status != "complete" for row in table.rows):
        return False
    return len({cost.text(row) for row in table.rows}) == 1


def name_heads(table: Table) -> tuple[str, ...]:
    """The heads of the columns that name a variant."""
    return tuple(table.sweep.factors) or ("variant",)


def shown_levels(row: Row, table: Table) -> tuple[str, ...]:
    """The levels of a variant; a dot where it is as the baseline, when there are several factors."""
    factors = list(table.sweep.factors)
    if not factors:
        return (ONLY,)
    base = table.sweep.baseline.levels
    if row.variant.is_baseline or len(factors) < 2:
        return tuple(row.variant.levels.get(factor, cells.NOTHING) for factor in factors)
    return tuple(
        cells.AS_BASELINE
        if row.variant.levels.get(factor) == base.get(factor)
        else row.variant.levels.get(factor, cells.NOTHING)
        for factor in factors
    )


def main_sheet(table: Table, beside: Beside = NOTHING_BESIDE, brief: bool = False, has_costs: bool = True) -> Sheet:
    """Scores, the primary difference with its verdict, its best blind control, costs that differ."""
    sweep = table.sweep
    keys = (*sweep.tasks, MEAN)
    primary = sweep.primary
    costs = differing_costs(table) if has_costs else ()
    heads = name_heads(table)
    head = (
        *heads,
        *(cells.title(key) for key in keys),
        f"Δ {cells.title(primary)}",
        "verdict",
        "blind",
        *(cost.head for cost in costs),
    )
    lines = [
        Line(
            (
                *map(Cell, shown_levels(row, table)),
                *(Cell(score_text(row, key, brief)) for key in keys),
                _difference(row, primary, brief),
                Cell(cells.NOTHING if row.variant.is_baseline else cells.verdict(row.difference.get(primary))),
                Cell(cells.blind(row.scores.get(primary))),
                *(Cell(cost.text(row)) for cost in costs),
            )
        )
        for row in table.rows
    ]
    names = [Cell("")] * (len(heads) - 1)
    rest = [Cell(cells.NOTHING)] * (1 + len(costs))
    for model in beside.imported:
        found = model.difference.get(primary)
        scores = [Cell(_outside(model.scores.get(key), brief)) for key in keys]
        change = Cell(cells.change(found, brief), cells.is_decided(found))
        middle = [*scores, change, Cell(cells.verdict(found))]
        lines.append(
            Line((Cell(f"Imported: {model.name}"), *names, *middle, *rest), "imported", "Imported", model.name)
        )
    for row in beside.published:
        printed = [Cell(row.values.get(key, cells.NOTHING)) for key in keys]
        nothing = [Cell(cells.NOTHING)] * 2
        heading = f"Published: {row.paper} {row.table}, {row.protocol}"
        name = Cell(f"{heading}: {row.variant}")
        lines.append(Line((name, *names, *printed, *nothing, *rest), "published", heading, row.variant))
    return Sheet("", head, len(heads), tuple(lines))


def score_text(row: Row, key: str, brief: bool = False) -> str:
    """A score, or the word that says why there is none."""
    found = row.scores.get(key)
    return cells.score(found, brief) if found is not None else cells.absent(row)


def _outside(score: Score | None, brief: bool) -> str:
    return cells.score(score, brief) if score is not None else "not imported"


def _difference(row: Row, key: str, brief: bool) -> Cell:
    found = row.difference.get(key)
    return Cell(cells.difference(found, row, brief), not row.variant.is_baseline and cells.is_decided(found))


def benchmark_sheet(table: Table, beside: Beside = NOTHING_BESIDE, brief: bool = False) -> Sheet:
    """The differences on each benchmark, and their blind controls."""
    sweep = table.sweep
    heads = name_heads(table)
    titles = [cells.title(task) for task in sweep.tasks]
    head = (*heads, *(f"Δ {name}" for name in titles), *(f"blind {name}" for name in titles))
    lines = [
        Line(
            (
                *map(Cell, shown_levels(row, table)),
                *(_difference(row, task, brief) for task in sweep.tasks),
                *(Cell(cells.blind(row.scores.get(task))) for task in sweep.tasks),
            )
        )
        for row in table.rows
    ]
    for model in beside.imported:
        found: list[Difference | None] = [model.difference.get(task) for task in sweep.tasks]
        changes = [Cell(cells.change(each, brief), cells.is_decided(each)) for each in found]
        names = [Cell(f"Imported: {model.name}"), *[Cell("")] * (len(heads) - 1)]
        lines.append(Line((*names, *changes, *[Cell(cells.NOTHING)] * len(titles)), "imported", "Imported", model.name))
    return Sheet("By benchmark", head, len(heads), tuple(lines))


def costs_sheet(table: Table) -> Sheet | None:
    """The costs that differ, for formats too narrow to have them in the main grid."""
    costs = differing_costs(table)
    if not costs:
        return None
    lines = [
        Line((*map(Cell, shown_levels(row, table)), *(Cell(cost.text(row)) for cost in costs))) for row in table.rows
    ]
    heads = name_heads(table)
    return Sheet("Costs", (*heads, *(cost.head for cost in costs)), len(heads), tuple(lines))


def subset_sheet(table: Table, brief: bool = False) -> Sheet | None:
    """The parts of benchmarks that are reported apart; ``None`` when there are none."""
    sweep = table.sweep
    parts = [
        (task, name)
        for task in sweep.tasks
        for name in sorted({name for row in table.rows for name in row.subsets.get(task, {})})
    ]
    if not parts:
        return None
    lines = []
    for row in table.rows:
        found = [row.subsets.get(task, {}).get(name) for task, name in parts]
        texts = [f"{cells.score(part, brief)} ({cells.blind(part)})" if part else cells.absent(row) for part in found]
        lines.append(Line((*map(Cell, shown_levels(row, table)), *map(Cell, texts))))
    head = (*name_heads(table), *(f"{cells.title(task)} {name} (blind)" for task, name in parts))
    return Sheet("Parts of a benchmark", head, len(name_heads(table)), tuple(lines))


def averages_sheet(table: Table, beside: Beside = NOTHING_BESIDE) -> Sheet | None:
    """The ways to average benchmarks; ``None`` unless they rank the variants differently or are asked for."""
    found = {row.variant.name: row.means for row in table.rows if row.means is not None}
    if not found or not (beside.averages or ranking_note(found)):
        return None
    kinds = [
        kind
        for kind in ("raw", "macro", "normalised", "iqm")
        if any(getattr(m, kind) is not None for m in found.values())
    ]
    titles = {"iqm": "IQM"}
    lines = []
    for row in table.rows:
        means = row.means
        values = [cells.absent(row) if means is None else cells.points(getattr(means, kind)) for kind in kinds]
        lines.append(Line((*map(Cell, shown_levels(row, table)), *map(Cell, values))))
    head = (*name_heads(table), *(titles.get(kind, kind) for kind in kinds))
    return Sheet("Averages", head, len(name_heads(table)), tuple(lines))


def sheets(table: Table, beside: Beside = NOTHING_BESIDE, brief: bool = False) -> list[Sheet]:
    """All grids of a table in order; the first is the wide one. ``brief``: short intervals, costs in their own grid."""
    found = [
        main_sheet(table, beside, brief, has_costs=not brief),
        benchmark_sheet(table, beside, brief),
        averages_sheet(table, beside),
        subset_sheet(table, brief),
        costs_sheet(table) if brief else None,
    ]
    return [sheet for sheet in found if sheet is not None]


def legend_lines(
    table: Table,
    beside: Beside = NOTHING_BESIDE,
    dot: str = f"{cells.AS_BASELINE}: as the baseline.",
    decided: str = "Bold",
) -> list[str]:
    """How to read the marks, what all variants share, and what the rows beside them are.

    ``dot``: on equal levels; ``decided``: the mark of what is decided.
    """
    sweep = table.sweep
    marks = []
    if any(not row.variant.is_baseline for row in table.rows) or beside.imported:
        corrected = f", corrected by {METHODS[sweep.correction]}" if sweep.correction in METHODS else ", not corrected"
        marks.append(
            f"{decided}: better or worse than the baseline{corrected}; {cells.EQUIVALENT}: equivalent, within"
            f" ±{sweep.min_effect:g} points; neither: inconclusive (in brackets the seeds that would decide it with"
            f" {100 * sweep.power:g} % probability, if the difference stays what it is)."
        )
    if len(sweep.factors) > 1 and len(table.rows) > 1:
        marks.append(dot)
    lines = [" ".join(marks)] if marks else []
    lines += [line] if (line := constants_line(table)) else []
    if beside.imported:
        lines.append(
            "Imported: one model each, evaluated elsewhere on the same prompts; its interval comes from the samples,"
            " its difference to the baseline is judged apart from the variants."
        )
    if beside.published:
        ours = _shots(table)
        sources = dict.fromkeys(f"{row.paper} ({row.source})" for row in beside.published)
        lines.append(
            f"Published: as printed in {', '.join(sources)}, of models of another size"
            + (f", with the shots named (ours: {ours})" if ours else "")
            + "; not compared with ours, not ranked, without intervals."
        )
    return lines


def _shots(table: Table) -> str:
    """The shots of our evaluations, from their stages."""
    stages = table.sweep.stages
    ids = {stage_id for run in table.sweep.runs for stage_id in run.evaluate.values()}
    return ", ".join(sorted({str(stages[each].config.get("shots", "?")) for each in ids if each in stages}))
