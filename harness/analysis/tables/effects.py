"""What a factor does on average over the others, and whether that hangs on another factor.

A *main effect* is a level against the baseline's level of its factor, averaged over the cells of the other factors that
have both. An *interaction* of a1 → b1 and a2 → b2 is (b1 b2 − a1 b2) − (b1 a2 − a1 a2): how much more the second change
brings where the first was made. Both are linear contrasts of variants, judged over seeds as every difference is. Only
trained variants count: a cell that lacks a score shrinks the average and is named, nothing is imputed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from math import fsum, sqrt
from typing import Any

from harness.analysis.samples.scored import are_comparable
from harness.analysis.samples.values import SAME, vary
from harness.analysis.statistics.differences import Difference, contrast, over_seeds, rounded
from harness.analysis.statistics.family import correct
from harness.analysis.stored.sweeps import VariantEntry
from harness.analysis.tables.table import MEAN, Table, judged

ENOUGH_PAIRS = 8
"""Matched pairs from which on a probability of improvement says something."""

Levels = tuple[tuple[str, str], ...]
Cell = tuple[tuple[float, str], ...]
"""Weights, and the names of the variants that they weigh."""


@dataclass(frozen=True)
class Average:
    """An effect on one benchmark, in points, over ``cells`` cells; ``left_out`` says for the others why."""

    difference: Difference
    cells: int
    left_out: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values, stable keys."""
        return {**self.difference.to_json(), "cells": self.cells, "left_out": list(self.left_out)}


@dataclass(frozen=True)
class Improvement:
    """The share of matched pairs in which the level scores higher than the baseline's, ties half.

    Probability of improvement (Agarwal et al. 2021), over cells × seeds × benchmarks; 0.5 is no effect.
    """

    share: float
    pairs: int

    def to_json(self) -> dict[str, Any]:
        """JSON values, stable keys."""
        return {"share": rounded(self.share), "pairs": self.pairs}


@dataclass(frozen=True)
class Effect:
    """By factor the baseline's level and another: of one factor a main effect, of two an interaction.

    ``cells`` is how many the design has, ``averages`` are by benchmark and of the mean.
    """

    levels: Mapping[str, tuple[str, str]]
    cells: int
    averages: Mapping[str, Average]
    improvement: Improvement | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values, stable keys."""
        return {
            "levels": {factor: list(pair) for factor, pair in self.levels.items()},
            "cells": self.cells,
            "averages": {key: average.to_json() for key, average in self.averages.items()},
            "probability_of_improvement": self.improvement.to_json() if self.improvement else None,
        }


@dataclass(frozen=True)
class Effects:
    """Of a sweep. Empty where the design has no two cells to average over, or no four corners of an interaction."""

    main: tuple[Effect, ...]
    interactions: tuple[Effect, ...]
    corrected: bool

    def to_json(self) -> dict[str, Any]:
        """JSON values, stable keys."""
        return {
            "main": [effect.to_json() for effect in self.main],
            "interactions": [effect.to_json() for effect in self.interactions],
            "correction": "holm" if self.corrected else "none",
        }


def effects(table: Table) -> Effects:
    """Main effects and two-way interactions. Holm's correction holds within each kind and benchmark."""
    cells = Cells(table)
    is_corrected = table.sweep.correction != "none"
    base = table.sweep.baseline.levels
    others = {
        factor: [level for level in levels if level != base.get(factor)]
        for factor, levels in table.sweep.factors.items()
    }
    changes = [(factor, level) for factor, found in others.items() for level in found]
    main, interactions = [], []
    for factor, level in changes:
        pair = {factor: (base[factor], level)}
        found = cells.of(pair)
        if len(found) > 1:  # one cell is the difference that the table shows anyway
            main.append(Effect(pair, len(found), cells.averages(found), cells.improvement(found)))
    for (first, one), (second, two) in combinations(changes, 2):
        if first != second:
            pairs = {first: (base[first], one), second: (base[second], two)}
            found = cells.of(pairs)
            if found:
                interactions.append(Effect(pairs, len(found), cells.averages(found)))
    return Effects(_judged(table, main, is_corrected), _judged(table, interactions, is_corrected), is_corrected)


class Cells:
    """The variants of a sweep as cells of its factors, with the scores that are there."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.keys = (*table.sweep.tasks, MEAN)
        tasks = {key: table.sweep.tasks if key == MEAN else (key,) for key in self.keys}
        self._scored = {key: {row.variant.name: row.runs.scored(tasks[key]) for row in table.rows} for key in self.keys}

    @cached_property
    def _names(self) -> dict[Levels, str]:
        return {_levels(variant.levels.items()): variant.name for variant in self.table.sweep.variants}

    @cached_property
    def _by_level(self) -> dict[tuple[str, str], list[VariantEntry]]:
        found: dict[tuple[str, str], list[VariantEntry]] = {}
        for variant in self.table.sweep.variants:
            for item in variant.levels.items():
                found.setdefault(item, []).append(variant)
        return found

    @cached_property
    def _have_the_same_seeds(self) -> dict[str, bool]:
        """By benchmark, whether all variants have scores of the same seeds."""
        seeds = {key: [scored.keys() for scored in found.values()] for key, found in self._scored.items()}
        return {key: bool(found[0]) and all(each == found[0] for each in found) for key, found in seeds.items()}

    @cached_property
    def _means(self) -> dict[str, list[dict[str, float]]]:
        """By benchmark, for each of several seeds that all variants have, the mean of each variant by its name.

        Empty where they were not all asked the same. It spares large designs to compare every cell of every effect.
        """
        found: dict[str, list[dict[str, float]]] = {}
        for key, scored in self._scored.items():
            seeds = list(next(iter(scored.values())))
            usable = len(seeds) > 1 and self._have_the_same_seeds[key] and are_comparable(list(scored.values()))
            found[key] = [{name: each.means[seed] for name, each in scored.items()} for seed in seeds * usable]
        return found

    @cached_property
    def _problems(self) -> dict[str, str]:
        return {row.variant.name: row.status for row in self.table.rows}

    def of(self, pairs: Mapping[str, tuple[str, str]]) -> list[Cell]:
        """The cells of the other factors in which the design has all the variants that the contrast needs."""
        return list(self._found(pairs))

    def _found(self, pairs: Mapping[str, tuple[str, str]]) -> Iterator[Cell]:
        starts = [self._by_level.get((factor, start), []) for factor, (start, _) in pairs.items()]
        for variant in min(starts, key=len):
            if any(variant.levels.get(name) != first for name, (first, _) in pairs.items()):
                continue
            corners: list[tuple[float, dict[str, str]]] = [(1.0, dict(variant.levels))]
            for name, (_, second) in pairs.items():
                corners = [
                    (weight * sign, {**levels, name: second} if sign > 0 else levels)
                    for weight, levels in corners
                    for sign in (1.0, -1.0)
                ]
            names = [(weight, self._names.get(_levels(levels.items()))) for weight, levels in corners]
            cell = tuple((weight, name) for weight, name in names if name is not None)
            if len(cell) == len(corners):
                yield cell

    def averages(self, cells: Sequence[Cell]) -> dict[str, Average]:
        """The average over cells, by benchmark; not judged yet."""
        return {key: self._average(cells, key) for key in self.keys}

    def _average(self, cells: Sequence[Cell], key: str) -> Average:
        used, left_out = self.complete(cells, key)
        if not used:
            return Average(Difference(None, reason="no cell has all its scores"), 0, left_out)
        sweep, scored = self.table.sweep, self._scored[key]
        weighted = [(weight / len(used), name) for cell in used for weight, name in cell]
        if self._means[key]:
            values = [fsum([weight * means[name] for weight, name in weighted]) for means in self._means[key]]
            if vary(values):
                return Average(over_seeds(values, sweep.confidence), len(used), left_out)
        terms = [(weight, scored[name]) for weight, name in weighted]
        return Average(contrast(terms, sweep.confidence, sweep.seed_noise.get(key)), len(used), left_out)

    def complete(self, cells: Sequence[Cell], key: str) -> tuple[list[Cell], tuple[str, ...]]:
        """The cells to average, and why the others are left out.

        All cells must have the same seeds. Where some lack seeds it is either them or the seeds that cannot count:
        what leaves most cells × seeds does, and several seeds go before one. Scores have no say in it.
        """
        if self._have_the_same_seeds[key]:
            return list(cells), ()
        seeds = [self._common(cell, key) for cell in cells]
        best: tuple[tuple[bool, int, int], list[int]] | None = None
        for least in sorted({len(each) for each in seeds if each}, reverse=True):
            kept = [index for index, each in enumerate(seeds) if len(each) >= least]
            common = set.intersection(*(seeds[index] for index in kept))
            worth = (len(common) > 1, len(kept) * len(common), len(kept))
            if common and (best is None or worth > best[0]):
                best = (worth, kept)
        chosen = best[1] if best else []
        left_out = [self._why(cell, seeds[index], key) for index, cell in enumerate(cells) if index not in set(chosen)]
        return [cells[index] for index in chosen], tuple(left_out)

    def _common(self, cell: Cell, key: str) -> set[int]:
        return set.intersection(*(set(self._scored[key][name]) for _, name in cell))

    def _why(self, cell: Cell, seeds: set[int], key: str) -> str:
        names = [name for _, name in cell]
        without = [name for name in names if not self._scored[key][name]]
        if without:
            return "; ".join(f"{name}: {self._problems[name]}" for name in without)
        count = f"{len(seeds)} seeds in common" if seeds else "no seed in common"
        return f"{', '.join(names)}: {count}" if len(seeds) != 1 else f"{', '.join(names)}: 1 seed in common"

    def improvement(self, cells: Sequence[Cell]) -> Improvement | None:
        """Over every cell, seed and benchmark that both variants of a main effect have."""
        wins = []
        for cell in cells:
            (_, level), (_, base) = cell
            for task in self.table.sweep.tasks:
                ours, theirs = self._scored[task][level], self._scored[task][base]
                if ours and theirs and not are_comparable([ours, theirs]):
                    return None
                for seed in ours.keys() & theirs.keys():
                    gain = ours.means[seed] - theirs.means[seed]
                    wins.append(0.5 if abs(gain) <= SAME else float(gain > 0))
        return Improvement(fsum(wins) / len(wins), len(wins)) if len(wins) >= ENOUGH_PAIRS else None


def _levels(items: Iterable[tuple[str, str]]) -> Levels:
    return tuple(sorted(items))


def _judged(table: Table, found: Sequence[Effect], is_corrected: bool) -> tuple[Effect, ...]:
    """The effects of one kind are one family on each benchmark."""
    changed: list[dict[str, Average]] = [{} for _ in found]
    for key in (*table.sweep.tasks, MEAN):
        averages = [effect.averages[key] for effect in found]
        adjusted = correct([average.difference for average in averages], "holm" if is_corrected else "none")
        for number, (effect, average, p) in enumerate(zip(found, averages, adjusted, strict=True)):
            deviation = _scaled(table.deviation(key), len(effect.levels), average.cells)
            verdict = judged(table.sweep, average.difference, deviation, p, len(found) if is_corrected else 1)
            changed[number][key] = replace(average, difference=verdict)
    return tuple(replace(effect, averages=averages) for effect, averages in zip(found, changed, strict=True))


def _scaled(deviation: float | None, factors: int, cells: int) -> float | None:
    """The noise of an average over cells, from that of the difference of two variants.

    An interaction is the difference of two differences; cells do not share variants, so their noise averages out.
    """
    return deviation * sqrt(2 ** (factors - 1) / cells) if deviation is not None and cells else None
