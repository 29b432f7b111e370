"""What an answer costs: core-seconds a decided contrast, and the smallest effect that one core-hour can show.

The figure of merit of a sweep, and of this tool: a better design of experiments (paired questions, common random
numbers, more questions a model where that is what is noisy) lowers it without a bias.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import fsum, sqrt
from typing import Any

import numpy as np

from harness.analysis.samples.questions import clusters
from harness.analysis.samples.scored import Scored
from harness.analysis.samples.values import Points, mean
from harness.analysis.statistics.differences import rounded
from harness.analysis.statistics.power import Noise, detectable
from harness.analysis.tables.table import MEAN, Table

HOUR = 3600.0

ENOUGH_VARIANTS = 200
"""Variants, taken evenly from the design, that tell the questions' share of the noise well enough."""


@dataclass(frozen=True)
class Price:
    """Of a sweep, on its primary score.

    ``run`` and ``evaluation`` are core-seconds of one run and of its evaluations alone; ``total`` those of all runs so
    far; ``decided`` contrasts to the baseline have a verdict other than inconclusive. ``hour_seeds`` seeds of two
    variants fit into a core-hour, and find differences from ``hour_effect`` points on (``None`` below two seeds).
    ``question_share`` of the noise of a difference comes from the questions: each training answers each question with
    luck of its own. With ``questions`` times as many of them, and as many fewer trainings, the same is decided for
    ``saving`` less.
    """

    run: float
    evaluation: float
    total: float
    decided: int
    contrasts: int
    hour_seeds: int
    hour_effect: float | None
    question_share: float | None = None
    questions: float | None = None
    saving: float | None = None

    @property
    def per_decided(self) -> float | None:
        """Core-seconds a decided contrast; ``None`` while none is."""
        return self.total / self.decided if self.decided else None

    def to_json(self) -> dict[str, Any]:
        """JSON values, stable keys."""
        return {
            "core_seconds_per_run": rounded(self.run),
            "core_seconds_of_evaluation": rounded(self.evaluation),
            "core_seconds": rounded(self.total),
            "decided": self.decided,
            "contrasts": self.contrasts,
            "core_seconds_per_decided": rounded(self.per_decided),
            "core_hour": {"seeds": self.hour_seeds, "detectable": rounded(self.hour_effect)},
            "question_share": rounded(self.question_share),
            "better_questions": rounded(self.questions),
            "saving": rounded(self.saving),
        }


def hour(run_seconds: float, noise: Noise | None, confidence: float, power: float) -> tuple[int, float | None]:
    """How many seeds of two variants a core-hour pays, and the smallest difference that they find."""
    seeds = int(HOUR / (2 * run_seconds)) if run_seconds > 0 else 0
    return seeds, detectable(noise.deviation, seeds, confidence, power) if noise is not None and seeds > 1 else None


def question_variance(first: Scored, second: Scored) -> float | None:
    """The variance of one seed's mean difference that its questions cause, clustered by image, in points².

    It is what is left of the samples' differences when the means of seeds and of questions are taken out. ``None``
    with less than two common seeds.
    """
    common = [seed for seed in first if seed in second]
    if len(common) < 2:
        return None
    rows = []
    for seed in common:
        pairs = list(zip(first[seed], second[seed], strict=True))
        rows.append(np.concatenate([(one.points - two.points) / (len(one.points) * len(pairs)) for one, two in pairs]))
    weighted = np.array(rows)  # [S, n]: parts of each seed's mean
    left = weighted - np.cumsum(weighted, axis=0)[-1] / len(rows)  # the seeds' own means are taken out by cluster below
    groups = clusters(tuple(score.questions for score in first[common[0]])).images
    count = int(groups.max()) + 1
    if count < 2:
        return None
    squares = []
    for row in left:
        sums: Points = np.bincount(groups, row, count).astype(np.float64)
        sums = sums - mean(sums)
        squares.append(float(np.cumsum(sums * sums)[-1]))
    return sum(squares) * count / (count - 1) / (len(rows) - 1)


def best_questions(training: float, evaluation: float, seeds: float, questions: float) -> tuple[float, float]:
    """The factor on the number of questions that makes a decision cheapest, and the share of the price it saves.

    ``training`` and ``evaluation`` are core-seconds of a run, ``seeds`` and ``questions`` the variances of its mean
    difference that more trainings alone, or more questions too, would lower. The price of a given precision goes as
    cost × variance; its minimum over the factor x is at x² = training · questions / (evaluation · seeds).
    """
    if min(training, evaluation) <= 0 or seeds <= 0:
        return 1.0, 0.0
    factor = sqrt(training * questions / (evaluation * seeds))
    if factor <= 0:
        return 1.0, 0.0

    def price(x: float) -> float:
        return (training + x * evaluation) * (seeds + questions / x)

    return factor, 1.0 - price(factor) / price(1.0)


def price_of(table: Table) -> Price | None:
    """Of a sweep as it stands; ``None`` while no run is complete."""
    sweep = table.sweep
    runs = [run for row in table.rows for run in row.runs if run.core_seconds is not None]
    if not runs:
        return None
    costs = [run.core_seconds or 0.0 for run in runs]
    evaluations = [run.evaluation_seconds or 0.0 for run in runs]
    others = [row for row in table.rows if not row.variant.is_baseline]
    verdicts = [row.difference[sweep.primary].verdict for row in others]
    power = table.power.get(sweep.primary)
    noise = power.noise if power else None
    seeds, effect = hour(mean(costs), noise, sweep.confidence, sweep.power)
    found = Price(
        run=mean(costs),
        evaluation=mean(evaluations),
        total=fsum(costs),
        decided=sum(verdict not in (None, "inconclusive") for verdict in verdicts),
        contrasts=len(others),
        hour_seeds=seeds,
        hour_effect=effect,
    )
    tasks = sweep.tasks if sweep.primary == MEAN else (sweep.primary,)
    base = table.row(sweep.baseline.name).runs.scored(tasks)
    some = others[:: max(1, len(others) // ENOUGH_VARIANTS)]
    variances = [question_variance(row.runs.scored(tasks), base) for row in some]
    known = [variance for variance in variances if variance is not None]
    if not known or noise is None or noise.deviation == 0.0:
        return found
    share = min(1.0, mean(known) / noise.deviation**2)
    # With all of the noise in the questions, more of them would always pay; a twentieth is left to the trainings.
    factor, saving = best_questions(found.run - found.evaluation, found.evaluation, max(0.05, 1.0 - share), share)
    return replace(found, question_share=share, questions=factor, saving=saving)
