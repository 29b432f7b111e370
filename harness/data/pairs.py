"""Image–text pairs to train on: WebDataset shards ``train/pairs-*.tar``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from harness.data.fields import Record
from harness.data.layout import PAIRS
from harness.data.manifest import VerifiedFiles
from harness.data.shards import IMAGE_EXTENSIONS, Sample, Shards


@dataclass(frozen=True, slots=True)
class SolvedQuestion:
    """A question with its answer, of the kind that benchmark ``task`` asks (empty when the shard does not say)."""

    question: str
    answer: str
    task: str = ""


@dataclass(frozen=True, slots=True)
class PairRecord:
    """One picture (by its key for ``Dataset.image``), its captions (at least one) and its solved questions (perhaps
    none).
    """

    key: str
    image: str
    captions: tuple[str, ...]
    questions: tuple[SolvedQuestion, ...]


class PairRecords(Sequence[PairRecord]):
    """All pairs, in the order of the shards. Records are read when asked for."""

    def __init__(self, files: VerifiedFiles) -> None:
        self.shards = Shards(files, PAIRS)
        self._root = files.root

    def __len__(self) -> int:
        return len(self.shards)

    @overload
    def __getitem__(self, index: int) -> PairRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[PairRecord]: ...
    def __getitem__(self, index: int | slice) -> PairRecord | Sequence[PairRecord]:
        """A record, or several. Raises HarnessError for one that is malformed."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        sample = self.shards.sample(index + len(self) if index < 0 else index)
        image = _only_image(self.shards, sample)
        captions: tuple[str, ...] = ()
        questions: tuple[SolvedQuestion, ...] = ()
        if "json" in sample.members:
            place = f"sample {sample.key!r}: {sample.members['json']}"
            record = Record(self._root / sample.shard, place, self.shards.json(sample))
            captions, questions = _captions(record), _questions(record)
        if not captions and "txt" in sample.members:
            captions = (self.shards.read(sample, "txt").decode("utf-8", errors="replace").strip(),)
        if not captions or not all(text.strip() for text in captions):
            self.shards.fail(sample, "has no caption: neither KEY.txt nor caption or captions in KEY.json")
        return PairRecord(sample.key, image, captions, questions)


def _only_image(shards: Shards, sample: Sample) -> str:
    found = [extension for extension in IMAGE_EXTENSIONS if extension in sample.members]
    if len(found) != 1:
        what = "has no picture" if not found else f"has {len(found)} pictures, {' and '.join(found)}"
        shards.fail(sample, f"{what}: one of KEY.{', KEY.'.join(IMAGE_EXTENSIONS)} is expected")
    return shards.image_key(sample, found[0])


def _captions(record: Record) -> tuple[str, ...]:
    if isinstance(record.value, dict) and "captions" in record.value:
        return record.texts("captions")
    caption = record.loose_text("caption")
    return (caption,) if caption else ()


def _questions(record: Record) -> tuple[SolvedQuestion, ...]:
    if not isinstance(record.value, dict) or "questions" not in record.value:
        return ()
    return tuple(
        SolvedQuestion(item.text("question"), item.text("answer"), item.loose_text("task"))
        for item in record.items("questions")
    )
