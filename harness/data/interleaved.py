"""Documents in which pictures and text alternate: WebDataset shards ``train/interleaved-*.tar``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, overload

from harness.data.fields import Record
from harness.data.layout import INTERLEAVED, member_key, split_key
from harness.data.manifest import VerifiedFiles
from harness.data.pairs import SolvedQuestion
from harness.data.shards import Sample, Shards


@dataclass(frozen=True, slots=True)
class SolvedExample:
    """A picture of a document with what is asked about it; a caption answers an empty ``question``."""

    image: str
    solved: tuple[SolvedQuestion, ...]


@dataclass(frozen=True, slots=True)
class InterleavedRecord:
    """A document in OBELICS' form: at each place of ``images`` and ``texts`` one of the two is a value, the other None.

    ``images`` are keys for ``Dataset.image``. ``task`` names the benchmark that the document's examples are of, and
    ``examples`` says the same as structure; both are empty for documents that are plain text and pictures.
    """

    key: str
    images: tuple[str | None, ...]
    texts: tuple[str | None, ...]
    task: str
    examples: tuple[SolvedExample, ...]


class InterleavedRecords(Sequence[InterleavedRecord]):
    """All documents, in the order of the shards. Records are read when asked for."""

    def __init__(self, files: VerifiedFiles) -> None:
        self.shards = Shards(files, INTERLEAVED)
        self._root = files.root

    def __len__(self) -> int:
        return len(self.shards)

    @overload
    def __getitem__(self, index: int) -> InterleavedRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[InterleavedRecord]: ...
    def __getitem__(self, index: int | slice) -> InterleavedRecord | Sequence[InterleavedRecord]:
        """A document, or several. Raises HarnessError for one that is malformed."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        sample = self.shards.sample(index + len(self) if index < 0 else index)
        if "json" not in sample.members:
            self.shards.fail(sample, "has no KEY.json")
        place = f"sample {sample.key!r}: {sample.members['json']}"
        record = Record(self._root / sample.shard, place, self.shards.json(sample))
        images, texts = _aligned(record)
        keys = tuple(None if name is None else self._image_key(record, sample, name) for name in images)
        return InterleavedRecord(sample.key, keys, texts, record.loose_text("task"), _examples(record, keys))

    def _image_key(self, record: Record, sample: Sample, name: str) -> str:
        """``MEMBER`` of the same shard, or ``SHARD::MEMBER`` of one beside it."""
        file, member = split_key(name)
        if member is None:
            if name not in self.shards.archive(sample.shard).members:
                record.fail(
                    f"the picture {name!r} is not in the shard", "write the shard again; docs/data.md has its form"
                )
            return member_key(sample.shard, name)
        if "/" in file:
            record.fail(f"the picture {name!r} is not in a shard beside this one", "name it SHARD.tar::MEMBER")
        return member_key((PurePosixPath(sample.shard).parent / file).as_posix(), member)


def _aligned(record: Record) -> tuple[tuple[str | None, ...], tuple[str | None, ...]]:
    images, texts = _optional_texts(record, "images"), _optional_texts(record, "texts")
    if len(images) != len(texts):
        record.fail(f"images has {len(images)} places and texts {len(texts)}, they have to be aligned")
    for place, (image, text) in enumerate(zip(images, texts, strict=True)):
        if (image is None) == (text is None):
            record.fail(f"at place {place} exactly one of images and texts has to be null")
    return images, texts


def _optional_texts(record: Record, name: str) -> tuple[str | None, ...]:
    items: list[Any] = [item.value for item in record.items(name)]
    if any(item is not None and not isinstance(item, str) for item in items):
        record.fail(f"{name} may hold texts and null only")
    return tuple(items)


def _examples(record: Record, images: tuple[str | None, ...]) -> tuple[SolvedExample, ...]:
    if "examples" not in record.value:
        return ()
    examples = []
    for item in record.items("examples"):
        place = item.number("image")
        image = images[place] if place < len(images) else None
        if image is None:
            item.fail(f"there is no picture at place {place}")
        solved = tuple(
            SolvedQuestion(entry.loose_text("question"), entry.text("answer"), entry.loose_text("task"))
            for entry in item.items("solved")
        )
        if not solved:
            item.fail("has nothing solved")
        examples.append(SolvedExample(image, solved))
    return tuple(examples)
