"""Attempts: the history of a stage, one small file for each time that somebody tried to compute it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.store.atomic import create, write_json
from harness.store.owner import Owner

RUNNING = "running"  # or died without a word: ask the owner
FINISHED = "finished"
FAILED = "failed"  # with the reason
KILLED = "killed"  # died without a word, noticed by whoever came next


@dataclass(frozen=True)
class Attempt:
    """One execution of a stage.

    ``job`` is a scheduler's job id or empty. ``retryable`` says of a failure that another attempt may fare better
    (a crash, a lost node), unlike an error in the data or the code. Times are UTC in ISO 8601; ``wall_seconds`` and
    ``core_seconds`` are those of this attempt alone. ``log_offset`` is where its part of the stage's log begins.
    ``out_of_memory`` says of a failure what it was; ``relief`` counts the earlier ones of that kind that smaller
    batches may mend.
    """

    number: int
    state: str
    job: str = ""
    owner: dict[str, Any] = field(default_factory=dict)
    started: str = ""
    ended: str = ""
    wall_seconds: float = 0.0
    core_seconds: float = 0.0
    reason: str = ""
    retryable: bool = True
    log_offset: int = 0
    out_of_memory: bool = False
    relief: int = 0
    provenance: dict[str, Any] = field(default_factory=dict)

    def is_alive(self) -> bool | None:
        """Whether its process lives; ``None`` when that cannot be told from here."""
        try:
            return Owner.from_json(self.owner).is_alive()
        except ValueError:
            return False


def attempts(stage_directory: Path) -> list[Attempt]:
    """All attempts of a stage in the order of their numbers. A damaged record is left out, it decides nothing."""
    found = []
    try:
        paths = list((stage_directory / "attempts").iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    for path in paths:
        if path.suffix != ".json" or not path.stem.isdecimal():
            continue
        try:
            found.append(Attempt(**json.loads(path.read_bytes())))
        except (OSError, ValueError, TypeError):
            continue
    return sorted(found, key=lambda attempt: attempt.number)


def add(stage_directory: Path, attempt: Attempt) -> Attempt:
    """Records a new attempt under the next free number and returns it with that number."""
    folder = stage_directory / "attempts"
    folder.mkdir(exist_ok=True)
    number = max((int(path.stem) for path in folder.glob("*.json") if path.stem.isdecimal()), default=0)
    while True:
        number += 1
        attempt = replace(attempt, number=number)
        if create(folder / f"{number}.json", json.dumps(asdict(attempt)).encode()):
            return attempt


def update(stage_directory: Path, attempt: Attempt) -> None:
    """Replaces the record of an attempt."""
    write_json(stage_directory / "attempts" / f"{attempt.number}.json", asdict(attempt))


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
