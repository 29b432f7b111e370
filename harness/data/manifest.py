"""What a data folder holds, file by file: built once, stored, and checked when files are first read.

Planning needs to know *which* data a result belongs to without reading terabytes: the digest of the manifest says it.
Reading checks that the files are still those: their size each time they are opened, their SHA-256 once a process.
Modification times play no part, copies and network file systems change them.

The embedded microworld needs no manifest to be identified (``harness.data.microworld.digest`` follows from its config
alone), but has one all the same, so that a damaged cache is noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from harness.errors import HarnessError
from harness.store.atomic import write_bytes

MANIFEST = "MANIFEST.json"
FORMAT = 1
_BLOCK = 1 << 20

Progress = Callable[[int, int], None]
"""Called with the number of bytes hashed and the number of all."""


@dataclass(frozen=True)
class Entry:
    """Size in bytes and SHA-256 of a file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """All files of a data folder by their path below it (with ``/``, whatever the system)."""

    files: Mapping[str, Entry]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over path, size and hash of every file, in the order of the paths: 64 hexadecimal digits."""
        digest = hashlib.sha256(f"data manifest {FORMAT}\n".encode())
        for name in sorted(self.files):
            entry = self.files[name]
            digest.update(f"{json.dumps(name)} {entry.size} {entry.sha256}\n".encode())
        return digest.hexdigest()

    @classmethod
    def build(cls, root: Path, progress: Progress | None = None) -> Manifest:
        """Hash every file below ``root`` but hidden ones and the manifest itself. Raises HarnessError for an empty
        folder.
        """
        root = _folder(root)
        sizes = {name: _stat(root, name) for name in sorted(_walk(root))}
        if not sizes:
            raise HarnessError(f"{root} is empty", "see docs/data.md for the files a data folder holds")
        total, done = sum(sizes.values()), 0
        files = {}
        for name, size in sizes.items():
            sha256, read = _hash(root / name)
            if read != size:
                raise HarnessError(
                    f"{root / name} changed while it was read", "index the folder when nothing writes to it"
                )
            files[name] = Entry(size, sha256)
            done += size
            if progress:
                progress(done, total)
        return cls(files)

    @classmethod
    def load(cls, root: Path, cache: Path | None = None) -> Manifest | None:
        """The stored manifest of ``root``, from the folder itself or else from ``cache``; None when there is none.

        Raises HarnessError for a manifest that is damaged.
        """
        root = _folder(root)
        for path in _places(root, cache):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                return cls._parse(path, root)
        return None

    def store(self, root: Path, cache: Path | None = None) -> Path:
        """Write the manifest into the folder, or into ``cache`` when the folder cannot be written; the file's path."""
        document = {
            "format": FORMAT,
            "digest": self.digest,
            "files": {name: [entry.size, entry.sha256] for name, entry in sorted(self.files.items())},
        }
        data = json.dumps(document, indent=0, ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n"
        places = _places(_folder(root), cache)
        for number, path in enumerate(places, 1):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(path, data)
            except (HarnessError, OSError) as error:
                if number == len(places) or not _is_refusal(error):
                    raise
            else:
                return path
        raise AssertionError("unreachable: there is always a place")

    def changes(self, root: Path) -> list[str]:
        """What differs between folder and manifest by names and sizes alone, in words; empty when nothing does."""
        root = _folder(root)
        present = set(_walk(root))
        found = [f"{name} is missing" for name in sorted(set(self.files) - present)]
        found += [f"{name} is new" for name in sorted(present - set(self.files))]
        for name in sorted(present & set(self.files)):
            size = _stat(root, name)
            if size != self.files[name].size:
                found.append(f"{name} has {size:,} bytes, not {self.files[name].size:,}")
        return found

    @classmethod
    def _parse(cls, path: Path, root: Path) -> Manifest:
        remedy = f"index the folder again: harness data index {root}"
        try:
            document: Any = json.loads(path.read_bytes().decode("utf-8", "surrogateescape"))
            if document["format"] != FORMAT:
                raise HarnessError(f"{path} has the format {document['format']!r}, this version reads {FORMAT}", remedy)
            manifest = cls({name: Entry(int(size), str(sha256)) for name, (size, sha256) in document["files"].items()})
            intact = manifest.digest == document["digest"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise HarnessError(f"{path} is damaged: {error}", remedy) from None
        if not intact:
            raise HarnessError(f"{path} is damaged: its digest does not fit its files", remedy)
        return manifest


def load_or_build(root: Path, cache: Path | None = None, progress: Progress | None = None) -> Manifest:
    """The stored manifest, or a new one that is stored at once."""
    manifest = Manifest.load(root, cache)
    if manifest is None:
        manifest = Manifest.build(root, progress)
        manifest.store(root, cache)
    return manifest


class VerifiedFiles:
    """Files of a data folder, checked against its manifest when they are first read. Without a manifest nothing is
    checked.
    """

    def __init__(self, root: Path, manifest: Manifest | None) -> None:
        self.root = _folder(root)
        self.manifest = manifest
        self._checked: set[str] = set()

    def path(self, name: str) -> Path:
        """The path of a file whose content is the manifest's. Raises HarnessError when it is missing or another."""
        path = self._locate(name)
        entry = self._entry(name, path)
        if entry and name not in self._checked:
            self._compare(path, entry, _hash(path)[0])
            self._checked.add(name)
        return path

    def read(self, name: str, limit: int) -> bytes:
        """The bytes of a file of at most ``limit`` bytes."""
        path = self._locate(name)
        entry = self._entry(name, path)
        size = path.stat().st_size
        if size > limit:
            raise HarnessError(f"{path} has {size:,} bytes, the limit is {limit:,}", "replace the file")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise _unreadable(path, error) from error
        if entry and name not in self._checked:
            self._compare(path, entry, hashlib.sha256(data).hexdigest())
            self._checked.add(name)
        return data

    def exists(self, name: str) -> bool:
        """Whether the folder holds the file."""
        return (self.root / name).is_file()

    def _locate(self, name: str) -> Path:
        parts = PurePosixPath(name).parts
        if not parts or PurePosixPath(name).is_absolute() or ".." in parts:
            raise HarnessError(f"{name!r} is not a file below {self.root}", "use paths below the data folder")
        path = self.root / name
        if path.is_dir():
            raise HarnessError(f"{path} is a folder, a file is expected", "see docs/data.md")
        if not path.is_file():
            raise HarnessError(f"{path} is missing", "see docs/data.md for the files a data folder holds")
        return path

    def _entry(self, name: str, path: Path) -> Entry | None:
        if self.manifest is None:
            return None
        entry = self.manifest.files.get(name)
        if entry is None:
            raise HarnessError(f"{path} came after the folder was indexed", _reindex(self.root))
        size = path.stat().st_size
        if size != entry.size:
            raise HarnessError(
                f"{path} has {size:,} bytes, {entry.size:,} when the folder was indexed", _reindex(self.root)
            )
        return entry

    def _compare(self, path: Path, entry: Entry, sha256: str) -> None:
        if sha256 != entry.sha256:
            raise HarnessError(f"{path} has another content than when the folder was indexed", _reindex(self.root))


def _reindex(root: Path) -> str:
    if (root / "world.json").is_file():
        return f"remove {root} and run again, the microworld will be written anew"
    return f"restore the file, or accept the change with: harness data index {root}"


def _unreadable(path: Path, error: OSError) -> HarnessError:
    return HarnessError(f"{path} cannot be read: {error.strerror}", "check its permissions and the disk")


def _is_refusal(error: BaseException) -> bool:
    cause = error.__cause__ if isinstance(error, HarnessError) else error
    return isinstance(cause, PermissionError) or (isinstance(cause, OSError) and cause.errno == 30)  # EROFS


def _folder(root: Path) -> Path:
    root = Path(root)
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "is missing"
        raise HarnessError(f"the data folder {root} {what}", "set data.root to a folder laid out as in docs/data.md")
    return root


def _places(root: Path, cache: Path | None) -> list[Path]:
    places = [root / MANIFEST]
    if cache is not None:
        name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
        places.append(Path(cache) / "manifests" / f"{name}.json")
    return places


def _walk(root: Path) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise HarnessError(f"{error.filename} cannot be read: {error.strerror}", "check its permissions")

    seen = set()
    for folder, folders, names in os.walk(root, onerror=refuse, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            raise HarnessError(f"{folder} is a link to a folder that was read already", "remove one of the two")
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        base = Path(folder).relative_to(root)
        for name in sorted(names):
            path = base / name
            if not name.startswith(".") and path != Path(MANIFEST):
                yield path.as_posix()


def _stat(root: Path, name: str) -> int:
    try:
        return (root / name).stat().st_size
    except OSError as error:
        raise _unreadable(root / name, error) from error


def _hash(path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    try:
        with open(path, "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                size += len(block)
    except OSError as error:
        raise _unreadable(path, error) from error
    return digest.hexdigest(), size
