"""The table of a sweep: one row a variant. A number stands there only when everything behind it has been computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.analysis.intervals import Interval, Sample, mean, seeds_interval
from harness.analysis.runs import Run, read_runs
from harness.analysis.scores import Incomparable, ScoreReader, TaskScores
from harness.analysis.sweeps import SavedSweep, VariantEntry
from harness.store import Store

BENCHMARKS = ("vqav2", "textvqa", "okvqa", "coco")
MEAN = "mean"
DIGITS = 6  # of points in JSON: far below any meaning, far above rounding


@dataclass(frozen=True)
class Score:
    """A score in points over ``n`` samples, each counted once whatever the number of seeds; ``blind``: best control."""

    interval: Interval
    n: int
    blind: float | None

    def to_json(self) -> dict[str, Any]:
        """JSON values, stable keys."""
        return {**interval_json(self.interval), "n": self.n, "blind": rounded(self.blind)}


@dataclass(frozen=True)
class Difference:
    """A paired difference in points over ``seeds`` training seeds; without one, ``reason`` says why."""

    interval: Interval | None
    seeds: int = 0
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON values, stable keys."""
        return {**interval_json(self.interval), "seeds": self.seeds, "reason": self.reason}


@dataclass(frozen=True)
class Row:
    """A variant. ``seeds`` are those whose runs are complete, ``runs`` are all that were planned.

    ``status`` is ``complete``, or says what keeps a seed from being complete: ``diverged``, ``failed``, ``running``,
    ``incomplete`` (a part is there), ``missing``; ``detail`` names it.
    """

    variant: VariantEntry
    status: str
    detail: str
    seeds: tuple[int, ...]
    runs: tuple[Run, ...]
    scores: Mapping[str, Score | None]
    subsets: Mapping[str, Mapping[str, Score]]
    difference: Mapping[str, Difference]
    parameters: int
    trainable: int
    visual_tokens: int
    train_flops: float
    train_seconds: float | None
    core_seconds: float | None

    def to_json(self) -> dict[str, Any]:
        """JSON values, stable keys."""
        nothing = {**interval_json(None), "n": 0, "blind": None}
        keys = (*BENCHMARKS, MEAN)
        return {
            "variant": dict(self.variant.levels),
            "name": self.variant.name,
            "baseline": self.variant.is_baseline,
            "status": self.status,
            "detail": self.detail,
            "seeds": len(self.seeds),
            "seeds_done": list(self.seeds),
            "scores": {key: (score.to_json() if (score := self.scores.get(key)) else nothing) for key in keys},
            "difference": {key: self.difference.get(key, Difference(None)).to_json() for key in keys},
            "subsets": {
                task: {name: score.to_json() for name, score in parts.items()} for task, parts in self.subsets.items()
            },
            "parameters": {"total": self.parameters, "trainable": self.trainable},
            "visual_tokens": self.visual_tokens,
            "train_flops": self.train_flops,
            "train_seconds": rounded(self.train_seconds),
            "core_seconds": rounded(self.core_seconds),
            "runs": [{"seed": run.entry.seed, "status": run.status, "detail": run.detail} for run in self.runs],
        }


@dataclass(frozen=True)
class Table:
    """The rows of a sweep, its baseline first, then in the order of the design."""

    sweep: SavedSweep
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def is_complete(self) -> bool:
        """Whether every run has its scores; one that diverged has none and will never have."""
        return all(run.status in ("complete", "diverged") for row in self.rows for run in row.runs)

    def row(self, variant: str) -> Row:
        """The row of a variant by its name."""
        return next(row for row in self.rows if row.variant.name == variant)

    def to_json(self) -> dict[str, Any]:
        """JSON values, stable keys."""
        from harness.analysis.contrasts import claim_results, control_result

        control = control_result(self)
        return {
            "name": self.sweep.name,
            "question": self.sweep.question,
            "digest": self.sweep.digest,
            "factors": {name: list(levels) for name, levels in self.sweep.factors.items()},
            "tasks": list(self.sweep.tasks),
            "seeds": list(self.sweep.seeds),
            "primary": self.sweep.primary,
            "min_effect": self.sweep.min_effect,
            "confidence": self.sweep.confidence,
            "complete": self.is_complete,
            "rows": [row.to_json() for row in self.rows],
            "claims": [claim.to_json() for claim in claim_results(self)],
            "positive_control": control.to_json() if control else None,
            "notes": list(self.notes),
        }


def make_table(sweep: SavedSweep, store: Store, reader: ScoreReader | None = None) -> Table:
    """The table of a sweep as it stands. A ``reader`` that is kept makes the next table cheap."""
    runs = read_runs(sweep, store, reader or ScoreReader(store))
    by_variant = {v.name: [run for run in runs if run.entry.variant == v.name] for v in sweep.variants}
    ordered = sorted(sweep.variants, key=lambda variant: not variant.is_baseline)
    base = by_variant[sweep.baseline.name]
    rows = tuple(_row(sweep, variant, by_variant[variant.name], base) for variant in ordered)
    return Table(sweep, rows, (*sweep.notes, *_notes(sweep, rows)))


def paired_difference(sweep: SavedSweep, benchmark: str, runs: Sequence[Run], others: Sequence[Run]) -> Difference:
    """``runs`` minus ``others`` on a benchmark or ``mean``, sample by sample, over the seeds that both have.

    With several seeds the interval is Student's t over the per-seed means of the differences; with one it is
    conditional on the two trained models. Scores that were not asked the same are refused.
    """
    tasks = sweep.tasks if benchmark == MEAN else (benchmark,)
    mine, theirs = _with_scores(runs, tasks), _with_scores(others, tasks)
    common = [seed for seed in mine if seed in theirs]
    if not common:
        return Difference(None, reason="no seed has both scores")
    try:
        pairs = {seed: [mine[seed].scores[task].minus(theirs[seed].scores[task]) for task in tasks] for seed in common}
    except Incomparable as error:
        return Difference(None, reason=f"not comparable: {error}")
    if not _same_samples(pairs):
        return Difference(None, reason="not comparable: the samples differ between seeds")
    return Difference(seeds_interval(pairs, sweep.confidence), len(common))


def _row(sweep: SavedSweep, variant: VariantEntry, runs: Sequence[Run], baseline: Sequence[Run]) -> Row:
    complete = [run for run in runs if run.status == "complete"]
    # Until a first seed is complete, the tasks that are done are shown; never means over different seeds in one row.
    shown = complete or list(runs)
    keys = (*sweep.tasks, MEAN)
    scores = {key: _score(sweep, key, shown) for key in keys}
    if variant.is_baseline:
        zero = Interval(0.0, 0.0, 0.0)
        difference = {key: Difference(zero, len(complete)) if scores[key] else Difference(None) for key in keys}
    else:
        difference = {key: paired_difference(sweep, key, shown, baseline) for key in keys}
    status, detail = _status(runs, complete)
    trained = complete or [run for run in runs if run.train_flops is not None]
    return Row(
        variant=variant,
        status=status,
        detail=detail,
        seeds=tuple(run.entry.seed for run in complete),
        runs=tuple(runs),
        scores=scores,
        subsets={task: parts for task in sweep.tasks if (parts := _subsets(sweep, task, shown))},
        difference=difference,
        parameters=_first(trained, lambda run: run.parameters, variant.parameters),
        trainable=_first(trained, lambda run: run.trainable, variant.trainable),
        visual_tokens=_first(trained, lambda run: run.visual_tokens, variant.visual_tokens),
        train_flops=_average([run.train_flops for run in trained]) or variant.train_flops,
        train_seconds=_average([run.train_seconds for run in trained]),
        core_seconds=_average([run.core_seconds for run in complete]),
    )


def _score(sweep: SavedSweep, benchmark: str, runs: Sequence[Run], subset: str | None = None) -> Score | None:
    tasks = sweep.tasks if benchmark == MEAN else (benchmark,)
    seeds: dict[int, list[TaskScores]] = {}
    for seed, run in _with_scores(runs, tasks).items():
        scores = [run.scores[task] for task in tasks]
        seeds[seed] = scores if subset is None else [score.only(subset) for score in scores]
    if not seeds:
        return None
    samples = {seed: [score.sample() for score in scores] for seed, scores in seeds.items()}
    if not _same_samples(samples):
        return None
    blinds = [score.blind() for scores in seeds.values() for score in scores]
    known = [blind for blind in blinds if blind is not None]
    return Score(
        seeds_interval(samples, sweep.confidence),
        sum(len(sample.values) for sample in next(iter(samples.values()))),
        mean(known) if len(known) == len(blinds) else None,
    )


def _subsets(sweep: SavedSweep, task: str, runs: Sequence[Run]) -> dict[str, Score]:
    found: dict[str, Score] = {}
    first = next((run.scores[task] for run in runs if task in run.scores), None)
    for name in first.subsets if first else ():
        score = _score(sweep, task, runs, name)
        if score is not None:
            found[name] = score
    return found


def _with_scores(runs: Sequence[Run], tasks: Sequence[str]) -> dict[int, Run]:
    """By seed, the runs that have all of the tasks."""
    return {run.entry.seed: run for run in runs if tasks and all(task in run.scores for task in tasks)}


def _same_samples(seeds: Mapping[int, Sequence[Sample]]) -> bool:
    first, *others = seeds.values()
    return all([s.clusters for s in other] == [s.clusters for s in first] for other in others)


def _status(runs: Sequence[Run], complete: Sequence[Run]) -> tuple[str, str]:
    if len(complete) == len(runs):
        return "complete", ""
    for status in ("diverged", "failed", "running"):
        concerned = [run for run in runs if run.status == status]
        if concerned:
            seeds = ", ".join(str(run.entry.seed) for run in concerned)
            return status, f"seed {seeds}: {concerned[0].detail}"
    waiting = {
        status: ", ".join(str(run.entry.seed) for run in runs if run.status == status)
        for status in ("unfinished", "missing")
    }
    words = {"unfinished": "is not finished", "missing": "has not run"}
    detail = "; ".join(f"seed {found} {words[status]}" for status, found in waiting.items() if found)
    return ("incomplete" if complete or waiting["unfinished"] else "missing"), detail


def _notes(sweep: SavedSweep, rows: Sequence[Row]) -> list[str]:
    notes = []
    percent = f"{100 * sweep.confidence:g} %"
    if any(len(row.seeds) == 1 for row in rows):
        notes.append(
            f"Where there is one seed, {percent} intervals come from the samples, clustered by image, and are"
            " conditional on the trained model: they say nothing about another training run."
        )
    if any(len(row.seeds) > 1 for row in rows):
        notes.append(f"Where there are several seeds, {percent} intervals are Student's t over the seeds' means.")
    refused = sorted({d.reason for row in rows for d in row.difference.values() if d.reason.startswith("not ")})
    notes += [f"A difference to the baseline was refused: {reason}." for reason in refused]
    return notes


def interval_json(interval: Interval | None) -> dict[str, float | None]:
    """``mean``, ``low``, ``high``, rounded."""
    if interval is None:
        return {"mean": None, "low": None, "high": None}
    return {"mean": rounded(interval.mean), "low": rounded(interval.low), "high": rounded(interval.high)}


def rounded(value: float | None) -> float | None:
    """To ``DIGITS`` digits, without a negative zero."""
    return None if value is None else round(value, DIGITS) + 0.0


def _first(runs: Sequence[Run], value: Callable[[Run], Any], otherwise: Any) -> Any:
    return next((found for run in runs if (found := value(run)) is not None), otherwise)


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None
