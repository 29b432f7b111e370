"""Main effects and interactions as a part of a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.tables.effects import Average, Effect, effects
from harness.analysis.tables.table import MEAN, Table
from harness.report import cells
from harness.report.markup import escaped, grid

TITLE = "Main effects and interactions"


def effect_lines(table: Table) -> list[str]:
    """The section with its heading; empty where the design has neither."""
    found = effects(table)
    kinds = [
        (
            "main effect",
            found.main,
            "A level against the baseline's, averaged over the cells of the other factors; where an interaction is not"
            " ruled out it need not hold in each of them. Higher in: the share of matched pairs (cells × seeds ×"
            " benchmarks) in which the level scores higher, ties half.",
        ),
        (
            "interaction",
            found.interactions,
            "How much more the second change brings where the first was made than where it was not.",
        ),
    ]
    lines = []
    for kind, members, meaning in kinds:
        if members:
            lines += ["", *_grid(table, kind, members), "", meaning + _family(found.corrected, len(members))]
    gaps = dict.fromkeys(
        reason
        for effect in (*found.main, *found.interactions)
        for average in effect.averages.values()
        for reason in average.left_out
    )
    if gaps:
        lines += ["", "Left out of averages, for want of scores:", "", *(f"- {escaped(reason)}" for reason in gaps)]
    return ["", f"## {TITLE}", *lines] if lines else []


def _grid(table: Table, kind: str, found: Sequence[Effect]) -> list[str]:
    primary = table.sweep.primary
    keys = (*table.sweep.tasks, MEAN)
    improved = any(effect.improvement is not None for effect in found)
    head = [kind, *(f"Δ {cells.title(key)}" for key in keys), f"verdict ({cells.title(primary)})", "cells"]
    body = []
    for effect in found:
        average = effect.averages[primary]
        row = [words(effect), *(_measured(effect.averages[key]) for key in keys)]
        found_verdict = average.difference.verdict or cells.NOTHING
        verdict = cells.interaction(average.difference) if len(effect.levels) > 1 else found_verdict
        row += [verdict, f"{average.cells}/{effect.cells}"]
        if improved:
            share = effect.improvement
            row.append(f"{100 * share.share:.0f} % of {share.pairs}" if share else cells.NOTHING)
        body.append([escaped(cell) for cell in row])
    return grid([*head, "higher in"] if improved else head, body, 1)


def words(effect: Effect) -> str:
    """``tokens 36 → 4``; of an interaction both changes."""
    return " × ".join(f"{factor} {first} → {second}" for factor, (first, second) in effect.levels.items())


def _measured(average: Average) -> str:
    found = average.difference
    if found.interval is None:
        return "n/c" if found.reason.startswith("not ") else cells.NOTHING
    return cells.long(found.judged, signed=True)


def _family(corrected: bool, size: int) -> str:
    return f" Verdicts are corrected for the {size} of them (Holm)." if corrected and size > 1 else ""
