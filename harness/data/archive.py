"""Tar shards: written byte by byte the same, read at random places without unpacking."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from harness.errors import HarnessError

MAX_MEMBER = 1 << 30


class ArchiveWriter:
    """Writes a ustar archive whose bytes depend on names and contents alone. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = open(path, "xb")  # noqa: SIM115
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    def __enter__(self) -> ArchiveWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._file:
            if kind is None:
                self._tar.close()  # writes the end mark

    def add(self, name: str, data: bytes) -> None:
        """Append a file; ``name`` has at most 100 bytes."""
        if not 0 < len(name.encode()) <= 100:
            raise ValueError(f"a member's name has 1 to 100 bytes, not {len(name.encode())}")
        info = tarfile.TarInfo(name)  # time, owner and mode are constants unless they are set
        info.size = len(data)
        self._tar.addfile(info, io.BytesIO(data))


@dataclass(frozen=True)
class Member:
    """A file within an archive: where its bytes start and how many there are."""

    name: str
    offset: int
    size: int


class Archive:
    """The members of an uncompressed tar (ustar, GNU long names, pax), found once and then read in any order."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def members(self) -> dict[str, Member]:
        """Members by name, in the order of the archive. Raises HarnessError for anything but an intact tar."""
        found: dict[str, Member] = {}
        try:
            with open(self.path, "rb") as file:
                for member in self._scan(file):
                    if member.name in found:
                        raise self._damaged(f"holds two members named {member.name!r}", "write the shard again")
                    found[member.name] = member
        except OSError as error:
            raise HarnessError(
                f"{self.path} cannot be read: {error.strerror}", "check the path and its permissions"
            ) from error
        return found

    def read(self, name: str) -> bytes:
        """The bytes of a member."""
        member = self.members.get(name)
        if member is None:
            raise HarnessError(f"{self.path} holds no member {name!r}", "check the record that refers to it")
        if member.size > MAX_MEMBER:
            raise HarnessError(
                f"{self.path}: {name!r} is {member.size:,} bytes long", f"members are at most {MAX_MEMBER:,} bytes"
            )
        data = os.pread(self._descriptor, member.size, member.offset)
        if len(data) != member.size:
            raise self._damaged(f"ends within {name!r}")
        return data

    @cached_property
    def _descriptor(self) -> int:
        try:
            return os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise HarnessError(
                f"{self.path} cannot be read: {error.strerror}", "check the path and its permissions"
            ) from error

    def __del__(self) -> None:
        if "_descriptor" in self.__dict__:
            os.close(self._descriptor)

    def __reduce__(self) -> tuple[type[Archive], tuple[Path]]:
        return (Archive, (self.path,))

    def _damaged(
        self, what: str, remedy: str = "the file is truncated or damaged: copy or download it again"
    ) -> HarnessError:
        return HarnessError(f"{self.path} {what}", remedy)

    def _scan(self, file: BinaryIO) -> Iterator[Member]:
        length = os.fstat(file.fileno()).st_size
        if file.read(2) == b"\x1f\x8b":
            raise self._damaged("is compressed, records cannot be read at random", "unpack it with gunzip")
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for info in tar:
                    if info.issparse():
                        raise self._damaged(f"holds {info.name!r} as a sparse file", "write plain files only")
                    if info.isreg():
                        if info.offset_data + info.size > length:
                            raise self._damaged(f"ends within {info.name!r}")
                        yield Member(info.name.removeprefix("./"), info.offset_data, info.size)
                end = tar.offset
        except tarfile.TarError as error:
            raise self._damaged(f"is no tar, or is damaged: {error}") from None
        # tarfile takes a damaged header, and the end of the file, for the end of the archive.
        file.seek(end)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise self._damaged(f"is damaged, or ends without the end mark of a tar, at byte {end:,}")
