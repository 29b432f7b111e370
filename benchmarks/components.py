"""How much of a score varies with what: components of variance of trained models that differ in chance alone.

    python benchmarks/components.py RESULTS [ablations/aa.yaml] [--keep benchmarks/components.json]

Takes every complete run of an A/A sweep as one of equals. Per benchmark, in points: the mean; the standard deviation of
a run's score; of that the part that any number of other questions would not average away (training), and the rest (the
questions that this model happens to know); the deviation of a single answer from run to run, and how much of it a
demonstration set or an image has in common. `--keep` writes what benchmarks/calibration.py simulates from.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from harness.analysis.samples.scores import TaskScores
from harness.analysis.statistics.power import pooled_noise
from harness.analysis.stored.reader import ScoreReader
from harness.analysis.stored.runs import Run, read_runs
from harness.analysis.stored.sweeps import SavedSweep
from harness.report.sources import open_sweep

QUANTILES = 64


@dataclass(frozen=True)
class Components:
    """Of one benchmark. Variances in points²; ``run`` of a run's expected score, ``question`` of what all runs agree
    on, ``answer`` of a question × run, ``of_set`` and ``of_image`` the parts of ``answer`` that those share.

    ``quantiles`` are those of the scores, at the middles of ``QUANTILES`` equal parts.
    """

    runs: int
    mean: float
    deviation: float
    run: float
    question: float
    answer: float
    of_set: float
    of_image: float
    quantiles: tuple[float, ...]


def measure(scores: Mapping[str, Sequence[TaskScores]]) -> dict[str, Components]:
    """From the scores of the same runs, in the same order, on each benchmark."""
    residuals, totals = {}, {}
    for task, runs in scores.items():
        points = np.array([run.points for run in runs])
        residual = points - points.mean(1, keepdims=True) - points.mean(0) + points.mean()
        count, asked = points.shape
        residuals[task] = residual
        totals[task] = float((residual**2).sum()) / (count - 1) / (asked - 1)
    shared = _images(scores, residuals, totals)
    found = {}
    for task, runs in scores.items():
        points, answer = np.array([run.points for run in runs]), totals[task]
        count, asked = points.shape
        sets = np.unique(runs[0].questions.sets, return_inverse=True)[1]
        of_set = max(0.0, _between(residuals[task], sets, answer))
        squares = float((np.bincount(sets) ** 2).sum()) / asked**2
        noise = of_set * squares + (answer - of_set) / asked
        spread = float(points.mean(1).var(ddof=1))
        question = float(points.mean(0).var(ddof=1)) - answer / count
        found[task] = Components(
            runs=count,
            mean=float(points.mean()),
            deviation=sqrt(spread),
            run=max(0.0, spread - noise),
            question=question,
            answer=answer,
            of_set=of_set,
            of_image=max(0.0, shared) * answer,
            quantiles=tuple(np.quantile(points, (np.arange(QUANTILES) + 0.5) / QUANTILES, method="nearest").tolist()),
        )
    return found


def _between(residual: Any, groups: Any, total: float) -> float:
    """Variance between groups of a run's residuals: analysis of variance, one unbalanced way, averaged over runs."""
    runs, asked = residual.shape
    sizes = np.bincount(groups)
    sums = np.array([np.bincount(groups, row) for row in residual])
    ways = len(sizes) - 1
    among = float((sums**2 / sizes).sum()) / ways / (runs - 1)
    within = (total * (asked - 1) - among * ways) / (asked - len(sizes))
    return (among - within) / ((asked - float((sizes**2).sum()) / asked) / ways)


def _images(
    scores: Mapping[str, Sequence[TaskScores]], residuals: Mapping[str, Any], totals: Mapping[str, float]
) -> float:
    """The mean correlation of two answers of one run about one image, within a benchmark or over two."""
    images = [image for runs in scores.values() for image in runs[0].questions.images]
    codes = np.unique(images, return_inverse=True)[1]
    standard = np.concatenate([residuals[task] / sqrt(totals[task]) for task in scores], axis=1)
    runs = len(standard)
    sums = np.array([np.bincount(codes, row) for row in standard])
    squares = np.array([np.bincount(codes, row**2) for row in standard])
    sizes = np.bincount(codes)
    return float((sums**2 - squares).sum()) / (runs - 1) / float((sizes * (sizes - 1)).sum())


def scores_of(runs: Sequence[Run], tasks: Sequence[str]) -> dict[str, list[TaskScores]]:
    """The scores of runs by benchmark."""
    return {task: [run.scores[task] for run in runs] for task in tasks}


def complete_runs(source: str, overrides: Sequence[str], results: Path) -> tuple[SavedSweep, list[Run]]:
    """A sweep and its complete runs."""
    sweep, store = open_sweep(source, overrides, results)
    runs = read_runs(sweep, store, ScoreReader(store))
    return sweep, [run for run in runs if run.status == "complete"]


def describe(found: Mapping[str, Components]) -> str:
    """The components as a table."""
    lines = ["            runs   mean  sd of a run  of it training  questions   sd of an answer  set %  image %"]
    for task, each in found.items():
        rest = sqrt(max(0.0, each.deviation**2 - each.run))
        lines.append(
            f"{task:10}  {each.runs:4}  {each.mean:5.1f}  {each.deviation:11.2f}  {sqrt(each.run):14.2f}  {rest:9.2f}"
            f"  {sqrt(each.answer):16.1f}"
            f"  {100 * each.of_set / each.answer:5.1f}  {100 * each.of_image / each.answer:7.1f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("sweep", nargs="?", default="ablations/aa.yaml")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    sweep, runs = complete_runs(arguments.sweep, arguments.overrides, arguments.results)
    found = measure(scores_of(runs, sweep.tasks))
    print(describe(found))
    means = [float(np.mean([run.scores[task].mean for task in sweep.tasks])) for run in runs]
    noise = pooled_noise([means])
    assert noise is not None
    independent = sqrt(sum(each.deviation**2 for each in found.values())) / len(found)
    print(f"mean of them: sd of a run {noise.deviation:.2f} (of benchmarks that vary independently: {independent:.2f})")
    if arguments.keep:
        values = {task: asdict(each) for task, each in found.items()}
        arguments.keep.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
