"""Which one to take, and how sure that is, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.tables.answer import Rival, answer
from harness.analysis.tables.table import Table
from harness.report import cells
from harness.report.quantities import quantity

FEW = 4


def answer_lines(table: Table) -> list[str]:
    """A few sentences; none where there is nothing to choose from."""
    found = answer(table)
    if found is None:
        return []
    key = table.sweep.primary
    score = found.best.scores[key]
    assert score is not None
    seeds = len(found.best.seeds)
    lines = [
        f"{found.best.variant.name} has the highest {cells.title(key)}: {cells.points(score.interval.mean)}"
        + (" (one seed)." if seeds == 1 else f" ({seeds} seeds)." if seeds else ".")
    ]
    if any(rival.difference.floor is not None for rival in (*found.behind, *found.equal, *found.unsettled)):
        lines.append(
            f"One seed says little of another training: what follows allows for the seed noise of the scale"
            f" {table.sweep.scale}, measured on other trainings; several seeds measure that of these variants."
        )
    corrected = f", corrected for {found.pairs} pairs" if found.pairs > 1 else ""
    if found.behind:
        lines.append(f"Better than {_named(found.behind)}{corrected}.")
    if found.equal:
        effect = f"{table.sweep.min_effect:g} points"
        lines.append(f"No better, by {effect} or more, than {_named(found.equal)}.")
    for rival in found.unsettled[:FEW]:
        lines.append(f"Not told apart from {rival.row.variant.name}: {_open(rival, found.pairs, table)}.")
    if len(found.unsettled) > FEW:
        lines.append(f"Nor from {len(found.unsettled) - FEW} more.")
    if found.cheapest is not found.best:
        lines.append(
            f"The cheapest of those that may be as good is {found.cheapest.variant.name}:"
            f" {quantity(found.cheapest.train_flops)}FLOPs of training against {quantity(found.best.train_flops)}FLOPs."
        )
    if not table.is_complete:
        lines.append("The sweep is not complete; all of this may change.")
    return lines


def _named(rivals: Sequence[Rival]) -> str:
    named = [f"{r.row.variant.name} ({cells.long(r.difference.judged, signed=True)})" for r in rivals[:FEW]]
    more = [f"{len(rivals) - FEW} more"] if len(rivals) > FEW else []
    return "; ".join([*named, *more])


def _open(rival: Rival, pairs: int, table: Table) -> str:
    found = rival.difference
    if found.interval is None:
        return found.reason or "no score in common"
    shown = cells.long(found.judged, signed=True)
    if found.p is not None and found.p < 1 - table.sweep.confidence:
        shown += f", decided by itself but not among {pairs} pairs"
    if found.seeds_to_decide is None:
        return f"{shown}; more seeds alone would hardly settle it"
    chance = f"{100 * table.sweep.power:g} %"
    return f"{shown}; {found.seeds_to_decide} seeds would settle it with {chance} probability if the difference stays"
