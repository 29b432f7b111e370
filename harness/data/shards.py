"""WebDataset shards: samples as groups of tar members, found by number without unpacking anything."""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.data.archive import Archive
from harness.data.layout import member_key
from harness.data.manifest import VerifiedFiles
from harness.errors import HarnessError

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")


@dataclass(frozen=True)
class Sample:
    """The members of a shard that share a key: their names by extension (all after the first dot of the file name)."""

    shard: str
    key: str
    members: dict[str, str]


class Shards:
    """The samples of several shards, in the order of the shards' names and of the members within. Shards are opened
    when needed.
    """

    def __init__(self, files: VerifiedFiles, pattern: str) -> None:
        self._files = files
        self.pattern = pattern
        self.names = tuple(sorted(path.relative_to(files.root).as_posix() for path in files.root.glob(pattern)))
        self._archives: dict[str, Archive] = {}

    @cached_property
    def samples(self) -> list[tuple[Sample, ...]]:
        """The samples of each shard."""
        return [self._group(name) for name in self.names]

    @cached_property
    def _ends(self) -> list[int]:
        ends, total = [], 0
        for samples in self.samples:
            total += len(samples)
            ends.append(total)
        return ends

    def __len__(self) -> int:
        return self._ends[-1] if self.names else 0

    def sample(self, index: int) -> Sample:
        """Sample number ``index`` over all shards."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        shard = bisect_right(self._ends, index)
        return self.samples[shard][index - self._ends[shard]]  # counted from the end of its shard

    def archive(self, name: str) -> Archive:
        """A shard, whose content has been checked."""
        if name not in self._archives:
            self._archives[name] = Archive(self._files.path(name))
        return self._archives[name]

    def read(self, sample: Sample, extension: str) -> bytes:
        """The bytes of one of the members of a sample."""
        return self.archive(sample.shard).read(sample.members[extension])

    def json(self, sample: Sample, extension: str = "json") -> Any:
        """One of the members of a sample, as JSON."""
        try:
            return json.loads(self.read(sample, extension))
        except (ValueError, RecursionError) as error:
            self.fail(sample, f"{sample.members[extension]} is not JSON: {error}")

    def image_key(self, sample: Sample, extension: str) -> str:
        """The key under which ``Dataset.image`` finds a picture of the sample."""
        return member_key(sample.shard, sample.members[extension])

    def fail(self, sample: Sample, what: str) -> Any:
        """Raise a HarnessError about a sample."""
        raise HarnessError(
            f"{self._files.root / sample.shard}: sample {sample.key!r}: {what}",
            "write the shard again; docs/data.md has its form",
        )

    def _group(self, name: str) -> tuple[Sample, ...]:
        groups: dict[str, dict[str, str]] = {}
        for member in self.archive(name).members:
            folder, _, base = member.rpartition("/")
            stem, _, extension = base.partition(".")
            key = f"{folder}/{stem}" if folder else stem
            groups.setdefault(key, {})[extension.lower()] = member
        return tuple(Sample(name, key, members) for key, members in groups.items())
