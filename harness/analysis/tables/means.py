"""One number for several benchmarks, in the ways that people take it, and whether the ranking hangs on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.samples.values import mean
from harness.evaluate.scoring import HIGHEST

ENOUGH_CELLS = 8
"""Scores (benchmarks × seeds) from which on an interquartile mean says something."""


@dataclass(frozen=True)
class Means:
    """Of one variant, in points.

    ``raw`` is the papers' plain average, where CIDEr × 100 outweighs the accuracies (Idefics2, section 3); ``macro``
    gives every benchmark the same scale from 0 to 100 first; ``normalised`` is the average share of a ceiling
    (Flamingo's score / state of the art); ``iqm`` the mean of the middle half of those shares over benchmarks and
    seeds (Agarwal et al. 2021), where there are enough.
    """

    raw: float
    macro: float
    normalised: float | None
    iqm: float | None

    def to_json(self) -> dict[str, Any]:
        """JSON values, stable keys."""
        values = {"raw": self.raw, "macro": self.macro, "normalised": self.normalised, "iqm": self.iqm}
        return {name: None if value is None else round(value, 6) + 0.0 for name, value in values.items()}


def means(
    seeds: Sequence[Mapping[str, float]], metrics: Mapping[str, str], ceilings: Mapping[str, float]
) -> Means | None:
    """The means of a variant from the scores of its seeds by benchmark; ``None`` without any."""
    if not seeds:
        return None
    tasks = list(metrics)
    averages = {task: mean([scores[task] for scores in seeds]) for task in tasks}
    macro = mean([100.0 * averages[task] / HIGHEST.get(metrics[task], 100.0) for task in tasks])
    if any(task not in ceilings for task in tasks):
        return Means(mean(list(averages.values())), macro, None, None)
    shares = sorted(100.0 * scores[task] / ceilings[task] for scores in seeds for task in tasks)
    normalised = mean([100.0 * averages[task] / ceilings[task] for task in tasks])
    cut = len(shares) // 4  # as scipy.stats.trim_mean(0.25)
    iqm = mean(shares[cut : len(shares) - cut]) if len(shares) >= ENOUGH_CELLS else None
    return Means(mean(list(averages.values())), macro, normalised, iqm)


def ranking_note(rows: Mapping[str, Means]) -> str:
    """Says so when the variants rank otherwise by another mean; empty when they do not."""
    if len(rows) < 2:
        return ""
    kinds = ["raw", "macro"] + ["normalised"] * all(found.normalised is not None for found in rows.values())
    order = {kind: sorted(rows, key=lambda name: -getattr(rows[name], kind)) for kind in kinds}
    others = [kind for kind in kinds[1:] if order[kind] != order["raw"]]
    if not others:
        return ""
    changes = "; ".join(f"{kind}: {' > '.join(_few(order[kind]))}" for kind in ("raw", *others))
    return f"The ranking depends on how the benchmarks are averaged ({changes})."


def _few(names: Sequence[str]) -> list[str]:
    return list(names) if len(names) <= 6 else [*names[:3], "…", *names[-2:]]
