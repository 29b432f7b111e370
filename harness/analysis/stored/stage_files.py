"""Finished stages as they lie in the store: their records and scores, read and verified."""

from __future__ import annotations

from typing import NamedTuple

from harness.analysis.samples.questions import Questions
from harness.analysis.samples.scores import FILE, WHOLE, ScoreFiles, TaskScores
from harness.analysis.stored.facts import Facts
from harness.analysis.stored.score_cache import Kept
from harness.errors import HarnessError
from harness.store import Record, Store


class Found(NamedTuple):
    """A finished stage; ``scores`` where they were asked for."""

    facts: Facts
    scores: Kept | None


class StageFiles:
    """Reads stages of one store; what was asked is kept once, however many runs answered it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._files = ScoreFiles()
        self._asked: dict[str, Questions] = {}

    def one(self, questions: Questions) -> Questions:
        """The one object for all questions that are equal to these, so that comparing them costs nothing."""
        return self._asked.setdefault(questions.digest, questions)

    def scores(self, stage_id: str, record: Record | None = None) -> TaskScores:
        """The scores of a finished evaluate stage, verified; ``record`` is its own, if it was just read.

        Raises ``HarnessError`` when they are damaged, or the stage is not finished.
        """
        record = record or self._store.record(stage_id)
        if record is None:
            raise HarnessError(f"Stage {stage_id} is not finished.", "Run its sweep first; see `harness status`.")
        raw = self._store.content(record, FILE)
        found = self._files.read(raw, f"{self._store.find(stage_id)}/{FILE}")
        return TaskScores(found.metric, self.one(found.questions), found.points, found.blinds)

    def read(self, record: Record, scored: bool) -> Found:
        """A stage with this record. Raises ``HarnessError`` when its scores are damaged."""
        if not scored:
            return Found(Facts.of(record), None)
        scores = self.scores(record.id, record)
        means = {WHOLE: scores.mean, **{name: scores.only(name).mean for name in scores.subsets}}
        size = record.outputs[FILE].size
        return Found(Facts.of(record), Kept(scores.metric, scores.questions, size, means, scores.blinds, scores.points))
