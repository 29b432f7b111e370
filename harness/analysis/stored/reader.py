"""How the stages of a sweep stand, and their scores: from the store, verified, or from what was kept of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from harness.analysis.samples.questions import Questions
from harness.analysis.samples.scores import FILE, WHOLE, TaskScores
from harness.analysis.samples.values import Points
from harness.analysis.stored.facts import Facts
from harness.analysis.stored.filling import fill
from harness.analysis.stored.score_cache import Kept, KeptScores, ScoreCache
from harness.analysis.stored.segments import DamagedSegment
from harness.analysis.stored.stage_files import StageFiles
from harness.analysis.stored.sweeps import SavedStages
from harness.store import Store

KEEP_FROM = 500
"""Stages of a sweep from which on a derived cache is worth its files; below, reading is a matter of a second."""

FILL_FROM = 2000
"""Stages that are new from which on other processes are worth the second that they take to start."""


@dataclass
class ScoreReader:
    """Reads stages, each once until its record changes.

    ``keep_from``: the number of stages from which on the store's derived cache is used; ``fill_from``: the number of
    new ones from which on several processes read them.
    """

    store: Store
    keep_from: int = KEEP_FROM
    fill_from: int = FILL_FROM
    _seals: dict[str, str] = field(default_factory=dict)
    _facts: dict[str, Facts] = field(default_factory=dict)
    _scores: dict[str, TaskScores] = field(default_factory=dict)
    _cache: ScoreCache | None = None

    def __post_init__(self) -> None:
        self._files = StageFiles(self.store)

    def read(self, stage_id: str) -> TaskScores:
        """The scores of a finished evaluate stage. Raises ``HarnessError`` when they are damaged."""
        if stage_id not in self._scores:
            self._scores[stage_id] = self._files.scores(stage_id)
        return self._scores[stage_id]

    def update(self, stages: SavedStages, scored: Collection[str]) -> Mapping[str, Facts]:
        """The facts of those stages that are finished now; of those in ``scored``, ``read`` has the scores at hand.

        Raises ``DamagedStage`` when what is stored is not what was written, or is of another stage.
        """
        self.store.survey()
        if self._cache is None and len(stages) >= self.keep_from:
            self._cache = ScoreCache(self.store.root)
        wanted = set(scored)
        new: dict[str, str] = {}
        for stage_id in stages:
            seal = self.store.seal(stage_id)
            if seal is None:
                self._forget(stage_id)
            elif not self._is_at_hand(stage_id, seal, stage_id in wanted):
                new[stage_id] = seal
        if self._cache is not None and len(new) >= self.fill_from:
            self._cache.close()
            fill(self.store.root, [(name, stages.digest(name), seal, name in wanted) for name, seal in new.items()])
            self._cache = ScoreCache(self.store.root)
            new = {name: seal for name, seal in new.items() if not self._is_at_hand(name, seal, name in wanted)}
        for stage_id, seal in new.items():
            self._fetch(stages, stage_id, seal, stage_id in wanted)
        if self._cache is not None:
            self._cache.save()
        return self._facts

    def _fetch(self, stages: SavedStages, stage_id: str, seal: str, wanted: bool) -> None:
        self._forget(stage_id)
        record = stages.record(self.store, stage_id)
        if record is None:
            return
        facts, scores = self._files.read(record, wanted)
        self._facts[stage_id], self._seals[stage_id] = facts, seal
        if scores is not None:
            self._scores[stage_id] = RecalledScores(self._files, stage_id, scores, scores.questions)
        if self._cache is not None:
            self._cache.add(stage_id, seal, facts, scores)

    def _is_at_hand(self, stage_id: str, seal: str, wanted: bool) -> bool:
        """Whether a stage was read since its record was written, by this object or by who made the cache."""
        if self._seals.get(stage_id) == seal and (not wanted or stage_id in self._scores):
            return True
        entry = self._cache.entry(stage_id, seal) if self._cache is not None else None
        if entry is None:
            return False
        facts, scores = entry
        if wanted:
            if scores is None or self.store.size(stage_id, FILE) != scores.size:
                return False
            self._scores[stage_id] = RecalledScores(self._files, stage_id, scores, self._files.one(scores.questions))
        self._facts[stage_id], self._seals[stage_id] = facts, seal
        return True

    def _forget(self, stage_id: str) -> None:
        if self._seals.pop(stage_id, None) is not None:
            self._facts.pop(stage_id, None)
            self._scores.pop(stage_id, None)


class RecalledScores(TaskScores):
    """Scores that were read before: means are at hand, points are fetched when they are asked for."""

    def __init__(self, files: StageFiles, stage_id: str, kept: Kept | KeptScores, questions: Questions) -> None:
        self.__dict__.update(
            metric=kept.metric,
            questions=questions,
            blinds=kept.blinds,
            mean=kept.means[WHOLE],
            _origin=(files, stage_id, kept),
        )

    @cached_property
    def points(self) -> Points:
        """The points, verified; from the store itself where the cache is damaged."""
        files, stage_id, kept = self._from()
        if isinstance(kept, Kept):
            return kept.points
        try:
            return kept.load()
        except DamagedSegment:
            kept.segment.discard()
            return files.scores(stage_id).points

    def only(self, subset: str) -> TaskScores:
        """The scores of one subset."""
        _, _, kept = self._from()
        if subset not in kept.means or subset == WHOLE:
            return super().only(subset)
        return RecalledPart(self, subset, kept.means[subset])

    def _from(self) -> tuple[StageFiles, str, Kept | KeptScores]:
        origin: tuple[StageFiles, str, Kept | KeptScores] = self.__dict__["_origin"]
        return origin


class RecalledPart(TaskScores):
    """A subset of scores that were read before."""

    def __init__(self, whole: TaskScores, subset: str, middle: float) -> None:
        blinds = {WHOLE: whole.blinds[subset]} if subset in whole.blinds else {}
        values = {"metric": whole.metric, "questions": whole.questions.only(subset), "blinds": blinds, "mean": middle}
        self.__dict__.update(values, _origin=(whole, subset))

    @cached_property
    def points(self) -> Points:
        """The points of the subset."""
        whole, subset = self.__dict__["_origin"]
        found: Points = whole.points[whole.questions.where(subset)]
        return found
