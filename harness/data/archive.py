"""Tar shards: written byte by byte the same, read at random places without unpacking."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from harness.errors import HarnessError

_BLOCK = 512
_MAX_NAME = 1 << 16  # bytes of a long name or a pax header; more is an attack or damage
_MEMBER_KINDS = {b"0", b"\0", b"7"}
_SKIPPED_KINDS = {b"5", b"1", b"2", b"3", b"4", b"6", b"g"}
MAX_MEMBER = 1 << 30


class ArchiveWriter:
    """Writes a ustar archive whose bytes depend on names and contents alone. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = open(path, "xb")  # noqa: SIM115

    def __enter__(self) -> ArchiveWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._file:
            if kind is None:
                self._file.write(bytes(2 * _BLOCK))

    def add(self, name: str, data: bytes) -> None:
        """Append a file; ``name`` has at most 100 bytes."""
        encoded = name.encode()
        if not 0 < len(encoded) <= 100:
            raise ValueError(f"a member's name has 1 to 100 bytes, not {len(encoded)}")
        header = bytearray(_BLOCK)
        header[: len(encoded)] = encoded
        header[100:136] = b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % len(data)
        header[136:157] = b"00000000000\0" + b" " * 8 + b"0"
        header[257:265] = b"ustar\x0000"
        header[148:156] = b"%06o\0 " % sum(header)
        self._file.write(bytes(header) + data + bytes(-len(data) % _BLOCK))


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
        offset = 0
        long_name: str | None = None
        long_size: int | None = None
        while True:
            file.seek(offset)
            header = file.read(_BLOCK)
            if len(header) < _BLOCK:
                raise self._damaged(f"ends at byte {length:,} without the end mark of a tar")
            if header.count(0) == _BLOCK:
                return
            self._check(header, offset)
            kind, size = header[156:157], self._number(header[124:136], offset)
            offset += _BLOCK
            if offset + size > length:
                raise self._damaged(
                    f"ends within {_text(header[:100])!r}: {length - offset:,} of {size:,} bytes are there"
                )
            if kind in (b"L", b"x"):
                if size > _MAX_NAME:
                    raise self._damaged(
                        f"has an extended header of {size:,} bytes", "write the shard again with plain names"
                    )
                data = file.read(size)
                if kind == b"L":
                    long_name = _text(data)
                else:
                    long_name, long_size = self._pax(data, offset)
            elif kind in _MEMBER_KINDS:
                size = size if long_size is None else long_size
                if offset + size > length:
                    raise self._damaged(f"ends within {long_name or _text(header[:100])!r}")
                prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
                name = long_name or (f"{prefix}/" if prefix else "") + _text(header[:100])
                yield Member(name.removeprefix("./"), offset, size)
                long_name = long_size = None
            elif kind in _SKIPPED_KINDS:
                long_name = long_size = None
            else:
                raise self._damaged(
                    f"has a member of the unknown kind {kind!r} at byte {offset - _BLOCK:,}", "write plain files only"
                )
            offset += -(-size // _BLOCK) * _BLOCK

    def _check(self, header: bytes, offset: int) -> None:
        if offset == 0 and header[:2] == b"\x1f\x8b":
            raise self._damaged("is compressed, records cannot be read at random", "unpack it with gunzip")
        expected = sum(header[:148]) + 8 * 32 + sum(header[156:])
        if self._number(header[148:156], offset) != expected:
            raise self._damaged(f"is no tar, or is damaged, at byte {offset:,}")

    def _number(self, field: bytes, offset: int) -> int:
        if field[:1] == b"\x80":  # GNU: sizes from 8 GiB on are binary
            return int.from_bytes(field[1:], "big")
        try:
            return int(field.split(b"\0")[0].strip() or b"0", 8)
        except ValueError:
            raise self._damaged(f"is no tar, or is damaged, at byte {offset:,}") from None

    def _pax(self, data: bytes, offset: int) -> tuple[str | None, int | None]:
        name, size = None, None
        while data.strip(b"\0"):
            try:
                length = int(data.split(b" ", 1)[0])
                key, value = data[:length].rstrip(b"\n").split(b" ", 1)[1].split(b"=", 1)
                if length <= 0:
                    raise ValueError
                if key == b"path":
                    name = value.decode()
                elif key == b"size":
                    size = int(value)
            except (ValueError, IndexError):
                raise self._damaged(f"has a damaged extended header at byte {offset:,}") from None
            data = data[length:]
        return name, size


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", errors="replace")
