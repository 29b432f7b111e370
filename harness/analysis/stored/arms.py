"""The variants that a contrast compares: groups that are equal in everything else."""

from __future__ import annotations

from collections.abc import Mapping

from harness.analysis.stored.sweeps import ContrastEntry, SavedSweep

Arms = tuple[tuple[str, ...], ...]
"""Names of variants that differ in a contrast alone: by level of ``between`` (one without it), by level contrasted."""


def groups(
    sweep: SavedSweep, contrast: ContrastEntry, between: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[Arms, ...]:
    """All complete groups, in the order of the design; several where ``where`` does not fix every other factor."""
    sides = [{factor: levels[side] for factor, levels in between.items()} for side in range(2)] if between else [{}]
    steps = [{factor: levels[n] for factor, levels in contrast.levels.items()} for n in range(contrast.steps + 1)]
    start = {**contrast.where, **steps[0], **sides[0]}
    names = {tuple(sorted(variant.levels.items())): variant.name for variant in sweep.variants}
    found = []
    for variant in sweep.variants:
        if any(variant.levels.get(factor) != level for factor, level in start.items()):
            continue
        arms = [
            [names.get(tuple(sorted({**variant.levels, **side, **step}.items()))) for step in steps] for side in sides
        ]
        whole = tuple(tuple(name for name in arm if name is not None) for arm in arms)
        if all(len(arm) == len(steps) for arm in whole):
            found.append(whole)
    return tuple(found)


def picked(sweep: SavedSweep, where: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the variants that have these levels."""
    return tuple(
        variant.name
        for variant in sweep.variants
        if all(variant.levels.get(factor) == level for factor, level in where.items())
    )
