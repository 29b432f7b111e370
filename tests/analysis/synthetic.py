"""Scores with clusters, as an evaluation would have them: sorted by the sample's id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from harness.analysis.samples.questions import Questions
from harness.analysis.samples.scores import TaskScores, _task_scores
from harness.analysis.samples.values import Sample
from tests.synthetic import Row


def asked(
    images: Sequence[str],
    sets: Sequence[int] | None = None,
    ids: Sequence[str] | None = None,
    task: str = "vqav2",
    prompts: Sequence[str] | None = None,
    subsets: Sequence[str] | None = None,
) -> Questions:
    """Questions about ``images``; one demonstration set for all unless ``sets`` says otherwise."""
    count = len(images)
    return Questions(
        task,
        tuple(ids or (f"{task}-{number:05d}" for number in range(count))),
        tuple(images),
        tuple(sets or [0] * count),
        tuple(prompts or (f"{task} {number}" for number in range(count))),
        tuple(subsets or [""] * count),
    )


def sample(
    values: Sequence[float],
    images: Sequence[str] | None = None,
    sets: Sequence[int] | None = None,
    lowest: float = 0.0,
    highest: float = 100.0,
    task: str = "vqav2",
) -> Sample:
    """Values of questions; each has an image of its own unless ``images`` says otherwise."""
    questions = asked(images or [f"i{number}" for number in range(len(values))], sets, task=task)
    return Sample(np.asarray(values, dtype=np.float64), questions, lowest, highest)


def scored(values: Sequence[float], questions: Questions | None = None, metric: str = "vqa-always") -> TaskScores:
    """An evaluation without controls."""
    questions = questions or asked([f"i{number}" for number in range(len(values))])
    return TaskScores(metric, questions, np.asarray(values, dtype=np.float64), {})


def from_rows(content: Sequence[Row]) -> TaskScores:
    """As read from a file with these rows."""
    return _task_scores(pa.Table.from_pylist(list(content)))


def columns(codes: Sequence[Any]) -> Any:
    """Names as numbers, for libraries that want them so."""
    return np.unique(np.asarray(codes), return_inverse=True)[1].astype(int)
