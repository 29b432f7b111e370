"""Scores of samples as evaluations stored them: read once, verified, in the order of the samples' ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

from harness.analysis.intervals import Sample, mean
from harness.errors import HarnessError
from harness.store import Store

FILE = "scores.parquet"
INTACT = "intact"
HIGHEST: Mapping[str, float] = {"cider-d": 1000.0}
"""Upper end of the scale in points, where it is not 100."""

_COLUMNS = ("condition", "sample_id", "image_id", "prompt_sha256", "score", "metric", "subset")


@dataclass(frozen=True)
class ScoredSample:
    """One sample under one condition; ``score`` is in points."""

    id: str
    image: str
    prompt: str
    score: float
    subset: str


@dataclass(frozen=True)
class TaskScores:
    """The samples of one evaluation by condition, sorted by id."""

    metric: str
    conditions: Mapping[str, tuple[ScoredSample, ...]]

    @property
    def intact(self) -> tuple[ScoredSample, ...]:
        """The samples as they are, nothing withheld."""
        return self.conditions[INTACT]

    @property
    def highest(self) -> float:
        """The upper end of the scale in points; the lower one is 0."""
        return HIGHEST.get(self.metric, 100.0)

    @cached_property
    def subsets(self) -> tuple[str, ...]:
        """Names of the parts that are reported apart (``unseen_signs``)."""
        return tuple(sorted({sample.subset for sample in self.intact} - {""}))

    def only(self, subset: str) -> TaskScores:
        """The scores of one subset."""
        kept = {
            condition: tuple(sample for sample in samples if sample.subset == subset)
            for condition, samples in self.conditions.items()
        }
        return TaskScores(self.metric, kept)

    def sample(self) -> Sample:
        """The intact scores for an interval, clustered by image."""
        return Sample([s.score for s in self.intact], [s.image for s in self.intact], 0.0, self.highest)

    def blind(self) -> float | None:
        """The best control: what can be scored without looking. ``None`` when no control was taken."""
        controls = [samples for condition, samples in self.conditions.items() if condition != INTACT and samples]
        return max((mean([sample.score for sample in samples]) for samples in controls), default=None)

    def minus(self, other: TaskScores) -> Sample:
        """Differences sample by sample. Raises ``Incomparable`` unless both were asked the very same."""
        if self.metric != other.metric:
            raise Incomparable(f"the metrics differ ({self.metric}, {other.metric})")
        mine, theirs = [sample.id for sample in self.intact], [sample.id for sample in other.intact]
        if mine != theirs:
            raise Incomparable(f"the samples differ ({len(set(mine) ^ set(theirs))} are not in both)")
        pairs = list(zip(self.intact, other.intact, strict=True))
        differing = sum(one.prompt != two.prompt for one, two in pairs)
        if differing:
            raise Incomparable(f"the prompts differ ({differing} of {len(pairs)} samples)")
        values = [one.score - two.score for one, two in pairs]
        return Sample(values, [one.image for one, _ in pairs], -self.highest, self.highest)


class Incomparable(Exception):
    """Scores that must not be compared; the message says why."""


@dataclass
class ScoreReader:
    """Reads the scores of stages, each once."""

    store: Store
    _read: dict[str, TaskScores] = field(default_factory=dict)

    def read(self, stage_id: str) -> TaskScores:
        """The scores of a finished evaluate stage. Raises ``HarnessError`` when they are damaged."""
        if stage_id not in self._read:
            self._read[stage_id] = self._load(stage_id)
        return self._read[stage_id]

    def _load(self, stage_id: str) -> TaskScores:
        from pyarrow import ArrowException, parquet

        path = self.store.outputs(stage_id).path(FILE)
        try:
            columns = parquet.read_table(path, columns=list(_COLUMNS)).to_pydict()
            return _task_scores(columns)
        except (ArrowException, KeyError, ValueError, TypeError) as error:
            raise HarnessError(
                f"{path} cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
                "It was written by another version; set the stage aside or use another results folder.",
            ) from error


def _task_scores(columns: Mapping[str, list[Any]]) -> TaskScores:
    metrics = set(columns["metric"])
    if len(metrics) != 1:
        raise ValueError(f"it holds scores of {len(metrics)} metrics")
    conditions: dict[str, list[ScoredSample]] = {}
    names = ("condition", "sample_id", "image_id", "prompt_sha256", "score", "subset")
    for condition, sample_id, image, prompt, score, subset in zip(*(columns[name] for name in names), strict=True):
        if score is None or score != score:
            raise ValueError(f"the sample {sample_id} has no score")
        sample = ScoredSample(str(sample_id), str(image), str(prompt), float(score), str(subset or ""))
        conditions.setdefault(str(condition), []).append(sample)
    if INTACT not in conditions:
        raise ValueError("it holds no intact samples")
    for condition, samples in conditions.items():
        samples.sort(key=lambda sample: sample.id)
        if any(one.id == two.id for one, two in pairwise(samples)):
            raise ValueError(f"a sample occurs twice ({condition})")
    return TaskScores(metrics.pop(), {condition: tuple(samples) for condition, samples in conditions.items()})
