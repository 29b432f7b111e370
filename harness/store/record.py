"""``done.json``: written last, it says that a stage is finished and what its outputs must look like."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from harness.errors import HarnessError
from harness.store.atomic import digest_file, sync_directory, write_json
from harness.store.encoding import canonical, reportable
from harness.store.stage import Stage

FORMAT = 1  # of done.json
NAME = "done.json"
# What lies beside the outputs and is none: records, the log, submission files and the scratch of the work itself.
BESIDE = frozenset({NAME, "stage.json", "progress.json", "log.txt", "attempts", "slurm", "scratch"})

Outcome = Literal["complete", "diverged"]
OUTCOMES = ("complete", "diverged")


class DamagedStage(HarnessError):
    """What lies in the store is not what was written. ``file`` is the damaged one."""

    def __init__(self, file: str | os.PathLike[str], what: str) -> None:
        self.file = Path(file)
        super().__init__(
            f"{file} is damaged: {what}.",
            "Run the sweep again with `harness run --repair …`: damaged stages are set aside and computed again.",
        )


@dataclass(frozen=True)
class Output:
    """SHA-256 (hexadecimal) and size in bytes of one file."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Record:
    """A finished stage.

    ``outputs`` maps paths relative to the stage's folder; ``summary`` is what its executor wants shown.
    ``wall_seconds`` and ``core_seconds`` belong to the attempt that finished; ``total_core_seconds`` adds what earlier
    ones had spent when they last reported. ``left_out`` are outputs that stayed behind when the stage was exported
    (weights, features): such a stage can be read, but nothing can be computed from it. ``checksum`` is of the record
    itself.
    """

    id: str
    digest: str
    outcome: Outcome
    summary: Mapping[str, Any]
    outputs: Mapping[str, Output]
    attempt: int
    finished: str
    wall_seconds: float
    core_seconds: float
    total_core_seconds: float
    provenance: Mapping[str, Any]
    left_out: Mapping[str, Output] = field(default_factory=dict)
    checksum: str = ""

    @property
    def took(self) -> float:
        """Wall seconds of all attempts, those that died as far as they had reported what they spent."""
        again = self.total_core_seconds / self.core_seconds if self.core_seconds > 0 else 1.0
        return self.wall_seconds * max(1.0, again)


def digest_outputs(directory: Path) -> dict[str, Output]:
    """Checksums of all outputs in a stage's folder, which are on the disk afterwards.

    Raises ``HarnessError`` for anything but plain files: a link may point out of the store.
    """
    outputs = {}
    for path in _output_files(directory):
        if path.is_symlink() or not path.is_file():
            raise HarnessError(
                f"{path} is not a plain file, and the outputs of a stage must be.", "Write a copy instead of a link."
            )
        digest, size = digest_file(path, sync=True)
        outputs[path.relative_to(directory).as_posix()] = Output(digest, size)
    folders = {parent for name in outputs for parent in PurePosixPath(name).parents}
    for folder in folders:
        sync_directory(directory / folder)
    return outputs


def write(directory: Path, record: Record) -> Record:
    """Writes the record, completed by its checksum."""
    content = {"format": FORMAT, **reportable(asdict(record))}
    del content["checksum"]
    if not record.left_out:
        del content["left_out"]
    content["checksum"] = _checksum(content)
    write_json(directory / NAME, content)
    return _parse(content)


def read(directory: Path, stage: Stage | None = None) -> Record | None:
    """The record of a stage, ``None`` when it is not finished; with ``stage``, it must be a record of that one.

    Raises ``DamagedStage`` when the record is not as it was written.
    """
    path = f"{directory}{os.sep}{NAME}"  # a string: tables read tens of thousands, and a Path costs more than the call
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        content = json.loads(data)
    except ValueError as error:
        raise DamagedStage(path, f"it is cut short or overwritten ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise DamagedStage(path, "it is not a record of a finished stage")
    if content["format"] > FORMAT:
        raise HarnessError(
            f"{path} was written in format {content['format']}, this version reads up to {FORMAT}.",
            "Update the harness, or use another store.",
        )
    claimed = content.pop("checksum", None)
    if claimed != _checksum(content):
        raise DamagedStage(path, "its content does not have the checksum it carries")
    content["checksum"] = claimed
    try:
        record = _parse(content)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedStage(path, f"it is not a record of a finished stage ({error})") from error
    if stage is not None and record.digest != stage.digest:
        raise DamagedStage(path, f"it belongs to stage {record.id}, not to {stage.id}")
    return record


def verify(directory: Path, record: Record) -> None:
    """Reads every output and compares it with the record. Raises ``DamagedStage`` naming the first that differs."""
    for name, expected in record.outputs.items():
        path = directory / name
        try:
            # Nothing in a store that came from somebody else may lead out of it.
            below = "/" in name and not path.resolve().is_relative_to(directory.resolve())
            if below or path.is_symlink():
                raise DamagedStage(path, "it is a link")
            size = os.stat(path).st_size
            if size != expected.size:
                raise DamagedStage(path, f"it has {size} bytes, {expected.size} were written")
            digest, _ = digest_file(path)
        except FileNotFoundError as error:
            raise DamagedStage(path, "it is missing") from error
        except OSError as error:
            raise DamagedStage(path, f"it cannot be read ({error.strerror})") from error
        if digest != expected.sha256:
            raise DamagedStage(path, "its content is not what was written (the checksums differ)")


def read_output(directory: Path, record: Record, name: str) -> bytes:
    """The content of one output, compared with the record. Raises ``DamagedStage`` when it differs."""
    expected = record.outputs[name]
    path = f"{directory}{os.sep}{name}"
    try:
        # Nothing in a store that came from somebody else may lead out of it.
        below = "/" in name and not Path(path).resolve().is_relative_to(directory.resolve())
        if below or os.path.islink(path):
            raise DamagedStage(path, "it is a link")
        with open(path, "rb", buffering=0) as file:
            content = file.read()
    except FileNotFoundError as error:
        raise DamagedStage(path, "it is missing") from error
    except OSError as error:
        raise DamagedStage(path, f"it cannot be read ({error.strerror})") from error
    if len(content) != expected.size:
        raise DamagedStage(path, f"it has {len(content)} bytes, {expected.size} were written")
    if hashlib.sha256(content).hexdigest() != expected.sha256:
        raise DamagedStage(path, "its content is not what was written (the checksums differ)")
    return content


def _output_files(directory: Path) -> list[Path]:
    found = []
    for folder, folders, files in os.walk(directory):
        top = Path(folder) == directory
        visible = [name for name in folders if not (top and (name.startswith(".") or name in BESIDE))]
        # A linked folder is listed as a file, so that it is refused instead of silently left out.
        linked = [name for name in visible if (Path(folder) / name).is_symlink()]
        folders[:] = sorted(name for name in visible if name not in linked)
        for name in sorted(linked + files):
            if not (top and (name.startswith(".") or name in BESIDE)):
                found.append(Path(folder) / name)
    return sorted(found)


def _parse(content: Mapping[str, Any]) -> Record:
    values = {key: value for key, value in content.items() if key != "format"}
    outputs, left_out = _outputs(values.pop("outputs")), _outputs(values.pop("left_out", {}))
    if values["outcome"] not in OUTCOMES:
        raise ValueError(f"unknown outcome {values['outcome']!r}")
    return Record(outputs=outputs, left_out=left_out, **values)


def _outputs(listed: Mapping[str, Any]) -> dict[str, Output]:
    outputs = {}
    for name, output in listed.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or str(path) != name:
            raise ValueError(f"the output {name!r} lies outside of the stage")
        outputs[name] = Output(str(output["sha256"]), int(output["size"]))
    return outputs


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(content).encode("ascii")).hexdigest()
