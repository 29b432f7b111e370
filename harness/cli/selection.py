"""Which runs of a sweep a command is about: ``-w tokens=36 -w '!seed=0'``, all of which must hold."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis import SavedSweep
from harness.analysis.stored.sweeps import RunEntry
from harness.errors import SpecError
from harness.spec.report import suggestion

SEED = "seed"


def select(sweep: SavedSweep, conditions: Sequence[str]) -> list[RunEntry]:
    """The runs for which all conditions hold, in the sweep's order.

    A condition is ``FACTOR=LEVEL`` or ``seed=N``, with ``!`` before it for the others. Raises ``SpecError`` for one
    that names no factor or level of the sweep, or when nothing is left.
    """
    levels = {variant.name: variant.levels for variant in sweep.variants}
    wanted = [_parsed(sweep, condition) for condition in conditions]

    def value(run: RunEntry, factor: str) -> str | None:
        return str(run.seed) if factor == SEED else levels[run.variant].get(factor)

    runs = [run for run in sweep.runs if all((value(run, f) == level) is holds for f, level, holds in wanted)]
    if not runs:
        raise SpecError(f"no run of {sweep.name} is {' and '.join(conditions)}", "See `harness status` for its runs.")
    return runs


def _parsed(sweep: SavedSweep, condition: str) -> tuple[str, str, bool]:
    factor, equals, level = condition.removeprefix("!").partition("=")
    known: dict[str, Sequence[str]] = {**sweep.factors, SEED: [str(seed) for seed in sweep.seeds]}
    if not equals:
        raise SpecError(f"-w {condition}: no condition", "Write FACTOR=LEVEL, or !FACTOR=LEVEL for the others.")
    if factor not in known:
        raise SpecError(f"-w {condition}: {sweep.name} has no factor {factor}", suggestion(factor, known))
    if level not in known[factor]:
        raise SpecError(f"-w {condition}: {factor} has no level {level}", suggestion(level, known[factor]))
    return factor, level, not condition.startswith("!")
