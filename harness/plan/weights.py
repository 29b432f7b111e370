"""Backbones as content: where a name leads on this machine, and a digest of everything that is loaded from there.

A digest covers the files that ``from_pretrained`` reads (configs, tokenizers, safetensors), not the cards beside them.
Hub models are identified by the commit that lies in the local hub cache. Other folders are read: small files always
in full; of a large file the digest is kept in the user's cache folder and trusted only while its size, its times, its
inode *and* a probe of its content (blocks spread over the file) are what they were. So a file that was replaced with
its times preserved is noticed, and hundreds of gigabytes are not hashed for every plan.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.plan.cache import cache_folder
from harness.spec.backbones import PREFIX
from harness.store.atomic import digest_file, write_json

SMALL = 8 << 20
"""Files up to this many bytes are always read in full."""

PROBES, PROBE_BYTES = 64, 4096

LOADED = frozenset({".json", ".safetensors", ".model", ".txt", ".jinja"})
_BESIDE = re.compile(r"(card\.json|readme.*|licen[cs]e.*|notice.*|requirements.*\.txt)", re.IGNORECASE)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class Absent(HarnessError):
    """Models of the hub that have not been fetched."""

    def __init__(self, names: Sequence[str]) -> None:
        one = len(names) == 1
        fetch = " && ".join(f"hf download {name}" for name in names)
        them, those = ("it", "that commit") if one else ("them", "those commits")
        super().__init__(
            f"the model {names[0]} is not on this machine"
            if one
            else f"{len(names)} models are not on this machine: {', '.join(names)}",
            f"Fetch {them} once where there is a network, with `harness models fetch FILE` given the sweep file, or"
            f" with `{fetch}`; plans and jobs then use {those}. A gated model first needs its terms accepted at"
            f" huggingface.co/{names[0] if one else 'ORGANISATION/NAME'}, and `hf auth login`.",
        )
        self.names = tuple(names)


@dataclass(frozen=True)
class Backbone:
    """A backbone of this machine: the name it was asked for by, its folder, the digest of its content."""

    name: str
    directory: Path
    digest: str

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its ``config.json``."""
        path = self.directory / "config.json"
        try:
            value = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise _unusable(self.name, f"{self.directory} has no config.json") from None
        except (OSError, ValueError) as error:
            raise _unusable(self.name, f"{path} cannot be read: {error}") from error
        if not isinstance(value, dict):
            raise _unusable(self.name, f"{path} is not a JSON object")
        return value


@dataclass
class Backbones:
    """Resolves names, each once; ``manifest`` is the file that keeps the digests of large files."""

    manifest: Path = field(default_factory=lambda: cache_folder() / "weights.json")
    _found: dict[str, Backbone] = field(default_factory=dict)

    def resolve(self, name: str) -> Backbone:
        """The backbone called ``zoo/NAME``, a local folder or a hub id. Raises ``HarnessError`` when it is not here."""
        if name not in self._found:
            self._found[name] = self._resolve(name)
        return self._found[name]

    def _resolve(self, name: str) -> Backbone:
        if is_hub_id(name):
            return _from_hub_cache(name)
        directory = _zoo_directory(name) if name.startswith(PREFIX) else Path(name).expanduser().absolute()
        if not directory.is_dir():
            raise _unusable(name, f"{directory} is not a folder")
        return Backbone(name, directory, self.digest(directory))

    def digest(self, directory: Path) -> str:
        """32 hex digits over the names and contents of the files that are loaded from a folder."""
        files = list(_loaded_files(directory))
        if not any(path.suffix == ".safetensors" for path in files):
            raise _unusable(str(directory), f"{directory} holds no safetensors weights")
        known = self._read()
        fresh = dict(known)
        whole = hashlib.sha256()
        for path in files:
            try:
                digest = _content_digest(path, fresh)
            except OSError as error:
                raise _unusable(str(directory), f"{path} cannot be read: {error.strerror}") from error
            whole.update(f"{path.relative_to(directory).as_posix()}\n{digest}\n".encode())
        if fresh != known:
            # A cache that cannot be written costs time, not correctness.
            with contextlib.suppress(OSError, HarnessError):
                self.manifest.parent.mkdir(parents=True, exist_ok=True)
                write_json(self.manifest, fresh, durable=False)
        return whole.hexdigest()[:32]

    def _read(self) -> dict[str, Any]:
        try:
            value = json.loads(self.manifest.read_bytes())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}


def is_hub_id(name: str) -> bool:
    """Whether a name is one of the hub's: neither of the zoo nor a folder."""
    is_path = name.startswith(("/", "./", "../", "~")) or name in {".", ".."} or Path(name).is_dir()
    return not is_path and not name.startswith(PREFIX)


def _content_digest(path: Path, known: dict[str, Any]) -> str:
    """SHA-256 of a file, from ``known`` when nothing speaks against it; a new one is entered there."""
    status = os.stat(path)
    if status.st_size <= SMALL:
        return digest_file(path)[0]
    key = os.path.realpath(path)
    evidence = {
        "size": status.st_size,
        "modified": status.st_mtime_ns,
        "changed": status.st_ctime_ns,
        "inode": status.st_ino,
        "probe": _probe(path, status.st_size),
    }
    entry = known.get(key)
    if isinstance(entry, dict) and entry.get("evidence") == evidence and isinstance(entry.get("sha256"), str):
        return entry["sha256"]
    digest = digest_file(path)[0]
    known[key] = {"evidence": evidence, "sha256": digest}
    return digest


def _probe(path: Path, size: int) -> str:
    """A digest of blocks at the start, at the end and evenly between: any other weights differ in one of them."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        for number in range(PROBES):
            file.seek(max(0, size - PROBE_BYTES) * number // (PROBES - 1))
            digest.update(file.read(PROBE_BYTES))
    return digest.hexdigest()


def _loaded_files(directory: Path) -> Iterator[Path]:
    """The files of a folder that ``from_pretrained`` may read, in a fixed order."""
    found = [
        path
        for path in directory.rglob("*")
        if path.suffix in LOADED
        and not _BESIDE.fullmatch(path.name)
        and not any(part.startswith(".") for part in path.relative_to(directory).parts)
        and path.is_file()
    ]
    return iter(sorted(found, key=lambda path: path.relative_to(directory).as_posix()))


def _zoo_directory(name: str) -> Path:
    import harness.zoo

    directory = Path(harness.zoo.__file__).parent / "models" / name.removeprefix(PREFIX)
    if not directory.is_dir():
        raise HarnessError(f"the model {name} is not installed", "Install the package again; it ships its zoo.")
    return directory


def _from_hub_cache(name: str) -> Backbone:
    """A hub model as it lies in the local hub cache; its commit stands for its content."""
    if not _HUB_ID.fullmatch(name):
        raise _unusable(name, "it is neither a folder nor a hub id (ORGANISATION/NAME)")
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface").expanduser()
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    folder = hub / f"models--{name.replace('/', '--')}"
    try:
        commit = (folder / "refs" / "main").read_text().strip()
    except OSError:
        raise Absent([name]) from None
    snapshot = folder / "snapshots" / commit
    if not re.fullmatch(r"[0-9a-f]{40}", commit) or not (snapshot / "config.json").exists():
        raise HarnessError(
            f"the copy of {name} in {folder} is incomplete",
            "Run `harness models fetch FILE` with the sweep file again.",
        )
    return Backbone(name, snapshot, commit)


def _unusable(name: str, why: str) -> HarnessError:
    return HarnessError(
        f"the model {name} cannot be used: {why}",
        "Give zoo/NAME, a hub id, or a folder in Hugging Face format (config.json, safetensors, tokenizer).",
    )
