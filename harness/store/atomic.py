"""Writing so that a reader, or the next attempt after a kill, finds the old content or the new and never a part.

Everything rests on ``rename`` and ``link`` within one directory, which hold on NFS, Lustre and GPFS. Temporary names
start with a dot and end in ``.tmp``; whoever works on a stage removes those that a killed attempt left (``recover``).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.store.encoding import reportable

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL_WORDS = ("No space left on device", "Disk quota exceeded", "os error 28", "os error 122")
_TEMPORARY = ".tmp"  # may be half written
_READY = ".new"  # complete and synced, only its last rename is missing
_BLOCK = 1 << 20


class StorageFull(HarnessError):
    """The disk or the quota is full. Nothing that was finished is touched."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        super().__init__(
            f"The disk or quota that holds {path} is full{_space_left(self.path)}.",
            "Free some space and give the same command again: what is finished stays, the rest is resumed.",
        )


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turns a full disk, a missing permission or a file in the place of a folder into a ``HarnessError``."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(path) from error
        if error.errno in _REFUSED:
            raise HarnessError(f"{path} cannot be written: {error.strerror}.", "Choose a writable store.") from error
        obstacle = next((folder for folder in (path, *path.parents) if folder.is_file()), None)
        if obstacle is not None and error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise HarnessError(
                f"{obstacle} is a file where the store needs a folder.", "Move it away or choose another store."
            ) from error
        raise


def is_storage_full(error: BaseException | None) -> bool:
    """Whether ``error``, or what caused it, is a full disk, however the library that met it words it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, StorageFull) or (isinstance(error, OSError) and error.errno in _FULL):
            return True
        # safetensors and pyarrow raise errors of their own that only quote the operating system.
        if any(words in str(error) for words in _FULL_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def write_bytes(path: Path, data: bytes, durable: bool = True) -> None:
    """Replaces ``path`` by ``data`` in one step. ``durable=False`` skips the syncs, for what may be lost in a crash."""
    write_chunks(path, (data,), durable)


def write_chunks(path: Path, chunks: Iterable[bytes], durable: bool = True) -> None:
    """Replaces ``path`` by the chunks, one after the other, in one step: for files that need not be held in memory."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{_TEMPORARY}")
    with storing(path):
        try:
            _write(temporary, chunks, durable)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        if durable:
            sync_directory(path.parent)


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    """Replaces ``path`` by ``value`` as JSON in one step; see ``encoding.reportable`` for what is converted."""
    text = json.dumps(reportable(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode("utf-8", errors="surrogatepass"), durable)


def create(path: Path, data: bytes) -> bool:
    """Creates ``path`` with ``data`` unless it exists; of several processes exactly one gets ``True``.

    ``link`` is the primitive that stays exclusive on network file systems; its return code may be wrong there after
    a lost reply, the link count is not.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{_TEMPORARY}")
    with storing(path):
        try:
            _write(temporary, (data,), durable=True)
            try:
                os.link(temporary, path)
            except OSError as error:
                if error.errno in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
                    raise HarnessError(
                        f"The file system that holds {path.parent} has no hard links.",
                        "Put the store on one that has (NFS, Lustre, GPFS and all local Linux ones do).",
                    ) from error
                if error.errno != errno.EEXIST and not path.exists():
                    raise
            won = os.stat(temporary).st_nlink == 2
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        sync_directory(path.parent)
    return won


@contextlib.contextmanager
def replace_directory(path: Path) -> Iterator[Path]:
    """Gives an empty folder to fill; on leaving, it takes the place of ``path``. On an error ``path`` stays as it was.

    Replacing a folder needs two renames; killed between them, ``recover`` completes the exchange.
    """
    path = Path(path)
    token = uuid.uuid4().hex[:12]
    temporary = path.with_name(f".{path.name}.{token}{_TEMPORARY}")
    ready = path.with_name(f".{path.name}{_READY}")
    with storing(path):
        temporary.mkdir(parents=True)
    try:
        yield temporary
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if is_storage_full(error) and not isinstance(error, StorageFull):
            raise StorageFull(path) from error
        raise
    with storing(path):
        try:
            sync_tree(temporary)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        if ready.exists():
            _promote(ready)
        os.rename(temporary, ready)
        sync_directory(path.parent)
        _promote(ready)


def recover(directory: Path) -> None:
    """Completes or removes what a killed attempt left half done in ``directory``. Only for the holder of its lease."""
    for entry in sorted(directory.iterdir()):
        if entry.name.startswith(".") and entry.name.endswith(_READY):
            _promote(entry)
    for entry in sorted(directory.iterdir()):
        # Specs are written without a lease, so a temporary spec may belong to a living process.
        if not entry.name.startswith(".") or not entry.name.endswith(_TEMPORARY) or entry.name.startswith(".stage."):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Makes renames in ``directory`` survive a power cut (where the file system can sync directories)."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def sync_tree(directory: Path) -> None:
    """Syncs every file and folder below ``directory``."""
    for folder, _, files in os.walk(directory):
        for name in files:
            descriptor = os.open(os.path.join(folder, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(Path(folder))


def digest_file(path: Path, sync: bool = False) -> tuple[str, int]:
    """SHA-256 in hexadecimal and the size in bytes of a file; with ``sync`` its content is on the disk afterwards."""
    digest = hashlib.sha256()
    size = 0
    with open(path, "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
        if sync:
            os.fsync(file.fileno())
    return digest.hexdigest(), size


def _write(path: Path, chunks: Iterable[bytes], durable: bool) -> None:
    with open(path, "xb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def _promote(ready: Path) -> None:
    """Renames ``.NAME.new`` to ``NAME``, removing the ``NAME`` of before."""
    path = ready.with_name(ready.name[1 : -len(_READY)])
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{_TEMPORARY}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, aside)
    os.rename(ready, path)
    sync_directory(path.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _space_left(path: Path) -> str:
    for folder in (path, *path.parents):
        with contextlib.suppress(OSError):
            return f" ({shutil.disk_usage(folder).free / 1e6:.1f} MB left)"
    return ""
