"""The derived cache of a store: what tables need of finished stages, in a few files instead of a hundred thousand.

It is never trusted over the store. An entry counts only while the stage's record is, byte for byte, the one that it was
made from, and its scores have their size; all else is read again and verified. An entry is what this code makes of a
stage, so a cache that other code has made does not count either. It may be deleted at any time; whatever is wrong with
it, it is made again silently; where it cannot be written, reading takes longer and nothing else.

No modification times and no locks: segments are written by rename, never changed, and named after their content, so
any number of processes may read and write at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from harness.analysis.samples.questions import Questions
from harness.analysis.samples.values import Points
from harness.analysis.stored import segments
from harness.analysis.stored.facts import Facts
from harness.analysis.stored.segments import DamagedSegment, Segment
from harness.errors import HarnessError

FOLDER = Path("cache", "scores")

MOST_SEGMENTS = 16
"""When there are more, the small ones become one."""

SMALL = 4 << 20  # bytes

_MADE_BY = (
    *("samples/questions.py", "samples/scores.py", "samples/values.py"),
    *("stored/facts.py", "stored/score_cache.py", "stored/segments.py", "stored/stage_files.py"),
)


class Kept(NamedTuple):
    """An evaluation: by subset, its mean and its best control; ``size`` of its file in bytes."""

    metric: str
    questions: Questions
    size: int
    means: Mapping[str, float]
    blinds: Mapping[str, float]
    points: Points


class KeptScores(NamedTuple):
    """As ``Kept``, its points still in their segment, from value ``offset`` on."""

    metric: str
    questions: Questions
    size: int
    means: Mapping[str, float]
    blinds: Mapping[str, float]
    segment: Segment
    offset: int
    checksum: int

    def load(self) -> Points:
        """The points. Raises ``DamagedSegment``."""
        return self.segment.points(self.offset, len(self.questions), self.checksum)


class ScoreCache:
    """The cache of one store, as it lies on the disk when this object is made, and what is added by it.

    ``is_empty``: without looking at the disk, for those that only add.
    """

    def __init__(self, root: Path, is_empty: bool = False) -> None:
        self._folder = root / FOLDER
        self._rows: dict[str, tuple[list[Any], Segment]] = {}
        self._questions: dict[str, Questions] = {}
        self._segments: list[Segment] = []
        self._useless: list[Path] = []
        self._new: list[tuple[str, str, Facts, Kept | None]] = []
        if not is_empty:
            for path in sorted(self._folder.glob(f"*{segments.SUFFIX}")):
                self._open(path)

    def close(self) -> None:
        """Gives the files back; points that are not loaded yet are then read from the store."""
        for segment in self._segments:
            segment.close()

    def entry(self, stage_id: str, seal: str) -> tuple[Facts, KeptScores | None] | None:
        """What is known of a stage whose record has this seal, its scores if they were asked for."""
        row, segment = self._rows.get(stage_id, (None, None))
        if row is None or segment is None or row[1] != seal:
            return None
        try:
            return Facts(*row[2]), self._scores(row[3], segment) if row[3] is not None else None
        except (KeyError, TypeError, ValueError):
            del self._rows[stage_id]
            return None

    def add(self, stage_id: str, seal: str, facts: Facts, scores: Kept | None) -> None:
        """A stage that was read from the store; ``save`` keeps it."""
        self._new.append((stage_id, seal, facts, scores))

    def save(self) -> None:
        """Writes what was added, if anything."""
        if not self._new:
            return
        entries, points, asked, position = [], [], dict[str, Questions](), 0
        for stage_id, seal, facts, scores in [*self._absorbed(), *self._new]:
            row = None
            if scores is not None:
                raw = segments.packed(scores.points)
                digest = scores.questions.digest
                asked[digest] = scores.questions
                row = [scores.metric, digest, scores.size, dict(scores.means), dict(scores.blinds)]
                row += [position, zlib.crc32(raw)]
                points.append(raw)
                position += len(scores.points)
            entries.append([stage_id, seal, list(facts), row])
        header = {
            "made_by": _code(),
            "questions": {
                digest: [q.task, q.ids, q.images, q.sets, q.prompts, q.subsets] for digest, q in asked.items()
            },
            "entries": entries,
        }
        self._new = []
        with contextlib.suppress(OSError, HarnessError):
            written = segments.write(self._folder, header, points)
            for path in self._useless:
                if path != written:
                    path.unlink(missing_ok=True)
            self._useless = []

    def _open(self, path: Path) -> None:
        try:
            segment = Segment(path)
        except DamagedSegment:
            self._useless.append(path)
            return
        try:
            header = segment.header
            if header["made_by"] != _code():
                raise ValueError("made by other code")
            for digest, (task, *columns) in header["questions"].items():
                if digest not in self._questions:
                    found = Questions(task, *map(tuple, columns))
                    if found.digest != digest:
                        raise ValueError("not the questions that it names")
                    self._questions[digest] = found
            self._rows.update({row[0]: (row, segment) for row in header["entries"]})
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            segment.close()
            self._useless.append(path)
            return
        self._segments.append(segment)

    def _scores(self, row: list[Any], segment: Segment) -> KeptScores:
        metric, digest, size, means, blinds, offset, checksum = row
        return KeptScores(metric, self._questions[digest], size, means, blinds, segment, offset, checksum)

    def _absorbed(self) -> list[tuple[str, str, Facts, Kept | None]]:
        """The entries of small segments, once there are many; the new segment takes their place."""
        if len(self._segments) < MOST_SEGMENTS:
            return []
        found = []
        small = {id(segment) for segment in self._segments if _size(segment.path) < SMALL}
        for stage_id, (row, segment) in self._rows.items():
            if id(segment) in small and (entry := self.entry(stage_id, row[1])) is not None:
                with contextlib.suppress(DamagedSegment):
                    found.append((stage_id, row[1], entry[0], _loaded(entry[1])))
        self._useless += [segment.path for segment in self._segments if id(segment) in small]
        self._segments = [segment for segment in self._segments if id(segment) not in small]
        return found


def _loaded(scores: KeptScores | None) -> Kept | None:
    if scores is None:
        return None
    return Kept(scores.metric, scores.questions, scores.size, scores.means, scores.blinds, scores.load())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


@cache
def _code() -> str:
    """Stands for the code that makes entries: nobody has to remember to bump a number."""
    digest = hashlib.sha256()
    for name in _MADE_BY:
        digest.update((Path(__file__).parents[1] / name).read_bytes())
    return digest.hexdigest()[:32]
