"""How the stages of a sweep stand, and their scores: from the store, verified, or from what was kept of it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from harness.analysis.facts import Facts
from harness.analysis.intervals import Points
from harness.analysis.questions import Questions
from harness.analysis.score_cache import Kept, KeptScores, ScoreCache
from harness.analysis.scores import FILE, WHOLE, ScoreFiles, TaskScores
from harness.analysis.segments import DamagedSegment
from harness.analysis.sweeps import SavedStages
from harness.store import Store

KEEP_FROM = 500
"""Stages of a sweep from which on a derived cache is worth its files; below, reading is a matter of a second."""

_AT_ONCE = 4096
"""Stages that are read before they are kept: an interrupted command goes on there, and memory stays bounded."""


@dataclass
class ScoreReader:
    """Reads stages, each once until its record changes; what was asked is kept once, however many runs answered it.

    ``keep_from``: the number of stages from which on the store's derived cache is used.
    """

    store: Store
    keep_from: int = KEEP_FROM
    _files: ScoreFiles = field(default_factory=ScoreFiles)
    _seals: dict[str, str] = field(default_factory=dict)
    _facts: dict[str, Facts] = field(default_factory=dict)
    _scores: dict[str, TaskScores] = field(default_factory=dict)
    _asked: dict[str, Questions] = field(default_factory=dict)
    _cache: ScoreCache | None = None

    def read(self, stage_id: str) -> TaskScores:
        """The scores of a finished evaluate stage. Raises ``HarnessError`` when they are damaged."""
        if stage_id not in self._scores:
            self._scores[stage_id] = self._load(stage_id)
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
            elif not self._is_current(stage_id, seal, stage_id in wanted) and not self._recall(
                stage_id, seal, stage_id in wanted
            ):
                new[stage_id] = seal
        for some in _batches(new, _AT_ONCE):
            self._fetch(stages, some, wanted, new)
        return self._facts

    def _fetch(self, stages: SavedStages, some: list[str], wanted: set[str], seals: Mapping[str, str]) -> None:
        """Reads stages from the store. Checksums and decompression leave the interpreter's lock to the others."""

        def fetch(stage_id: str) -> tuple[Facts, TaskScores | None, int] | None:
            record = stages.record(self.store, stage_id)
            if record is None:
                return None
            if stage_id not in wanted:
                return Facts.of(record), None, 0
            path = self.store.outputs(stage_id, record).path(FILE)
            return Facts.of(record), self._shared(self._files.read(path)), record.outputs[FILE].size

        with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
            for stage_id, found in zip(some, pool.map(fetch, some), strict=True):
                self._forget(stage_id)
                if found is None:
                    continue
                facts, scores, size = found
                self._facts[stage_id], self._seals[stage_id] = facts, seals[stage_id]
                if scores is not None:
                    self._scores[stage_id] = scores
                if self._cache is not None:
                    self._cache.add(stage_id, seals[stage_id], facts, _kept(scores, size))
        if self._cache is not None:
            self._cache.save()

    def _is_current(self, stage_id: str, seal: str, wanted: bool) -> bool:
        return self._seals.get(stage_id) == seal and (not wanted or stage_id in self._scores)

    def _recall(self, stage_id: str, seal: str, wanted: bool) -> bool:
        """Takes a stage from the cache, if that is as good as reading it."""
        entry = self._cache.entry(stage_id, seal) if self._cache is not None else None
        if entry is None or (wanted and entry.scores is None):
            return False
        if wanted and entry.scores is not None:
            if self.store.size(stage_id, FILE) != entry.scores.size:
                return False
            self._scores[stage_id] = RecalledScores(self, stage_id, entry.scores, self._one(entry.scores.questions))
        self._facts[stage_id], self._seals[stage_id] = entry.facts, seal
        return True

    def _forget(self, stage_id: str) -> None:
        for known in (self._facts, self._scores, self._seals):
            known.pop(stage_id, None)

    def _load(self, stage_id: str) -> TaskScores:
        return self._shared(self._files.read(self.store.outputs(stage_id).path(FILE)))

    def _shared(self, found: TaskScores) -> TaskScores:
        return TaskScores(found.metric, self._one(found.questions), found.points, found.blinds)

    def _one(self, questions: Questions) -> Questions:
        return self._asked.setdefault(questions.digest, questions)


class RecalledScores(TaskScores):
    """Scores from the cache: means are at hand, points are fetched when they are asked for."""

    def __init__(self, reader: ScoreReader, stage_id: str, kept: KeptScores, questions: Questions) -> None:
        values = {"metric": kept.metric, "questions": questions, "blinds": kept.blinds, "mean": kept.means[WHOLE]}
        self.__dict__.update(values, _reader=reader, _stage_id=stage_id, _kept=kept)

    @cached_property
    def points(self) -> Points:
        """The points, verified; from the store itself where the cache is damaged."""
        kept: KeptScores = self.__dict__["_kept"]
        reader: ScoreReader = self.__dict__["_reader"]
        try:
            return kept.load()
        except DamagedSegment:
            kept.segment.discard()
            return reader._load(self.__dict__["_stage_id"]).points

    def only(self, subset: str) -> TaskScores:
        """The scores of one subset."""
        if subset not in self.__dict__["_kept"].means or subset == WHOLE:
            return super().only(subset)
        return RecalledPart(self, subset, self.__dict__["_kept"].means[subset])


class RecalledPart(TaskScores):
    """A subset of scores from the cache."""

    def __init__(self, whole: TaskScores, subset: str, middle: float) -> None:
        blinds = {WHOLE: whole.blinds[subset]} if subset in whole.blinds else {}
        values = {"metric": whole.metric, "questions": whole.questions.only(subset), "blinds": blinds, "mean": middle}
        self.__dict__.update(values, _whole=whole, _subset=subset)

    @cached_property
    def points(self) -> Points:
        """The points of the subset."""
        whole: TaskScores = self.__dict__["_whole"]
        found: Points = whole.points[whole.questions.where(self.__dict__["_subset"])]
        return found


def _kept(scores: TaskScores | None, size: int) -> Kept | None:
    if scores is None:
        return None
    means = {WHOLE: scores.mean, **{name: scores.only(name).mean for name in scores.subsets}}
    return Kept(scores.metric, scores.questions, size, means, scores.blinds, scores.points)


def _batches(stage_ids: Iterable[str], size: int) -> Iterator[list[str]]:
    left = iter(stage_ids)
    while some := list(islice(left, size)):
        yield some
