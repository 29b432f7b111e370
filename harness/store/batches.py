"""Stages that were given to a scheduler together, one job array each: what a queue's entry stands for.

::

    ROOT/batches/KEY/
        batch.json     the key, the task number of each stage, who gave it; then the scheduler's id
        stages.jsonl   the stages themselves, one a line; a task is told this path and finds its stage by its number
        private/       the transport's own files, for their owner alone
    ROOT/batches/retired.jsonl    the stages of batches that have been removed

A batch is written before the scheduler is asked, so that a driver that dies between the two leaves nothing that the
next one cannot find: the key is part of the name that the scheduler shows.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.store import atomic
from harness.store.attempts import now
from harness.store.encoding import reportable
from harness.store.stage import Stage

KEY_LENGTH = 12
RETIRED = "retired.jsonl"


@dataclass(frozen=True)
class Batch:
    """A job array: ``tasks`` maps task numbers to stage ids, ``job`` is the scheduler's id, empty before it is known.

    ``wishes``: what each task asked of the scheduler. ``user`` and ``created`` (UTC) say who gave it and when.
    """

    key: str
    folder: Path
    tasks: Mapping[int, str]
    job: str = ""
    user: str = ""
    created: str = ""
    wishes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stages(self) -> Path:
        """The file with the stages."""
        return self.folder / "stages.jsonl"

    @property
    def private(self) -> Path:
        """The folder of the transport."""
        return self.folder / "private"


class Batches:
    """The batches of a store; what has been read of them is kept."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "batches"
        self._known: dict[str, Batch] = {}

    def run_file(self, title: str) -> Path:
        """Where the record of a run that this user submitted lies (``launch.slurm.runs``)."""
        return self._folder.parent / "runs" / getpass.getuser() / f"{title}.jsonl"

    def add(self, tasks: Mapping[int, Stage], wishes: Mapping[str, Any]) -> Batch:
        """Writes a new batch down, without a job, and returns it. Raises ``StorageFull`` as the store does."""
        key = uuid.uuid4().hex[:KEY_LENGTH]
        folder = self._folder / key
        with atomic.storing(folder):
            folder.mkdir(parents=True)
            (folder / "private").mkdir(mode=0o700)
            (folder / "private").chmod(0o700)
            lines = (_line({"task": number, "stage": stage.to_json()}) for number, stage in tasks.items())
            atomic.write_chunks(folder / "stages.jsonl", lines)
        ids = {number: stage.id for number, stage in tasks.items()}
        batch = Batch(key, folder, ids, user=getpass.getuser(), created=now(), wishes=dict(wishes))
        self._write(batch)
        return batch

    def accepted(self, batch: Batch, job: str) -> Batch:
        """Records the scheduler's id of a batch."""
        accepted = replace(batch, job=job)
        self._write(accepted)
        return accepted

    def discard(self, batch: Batch) -> None:
        """Removes a batch that the scheduler has refused, or of which nothing is left to tell."""
        self._known.pop(batch.key, None)
        shutil.rmtree(batch.folder, ignore_errors=True)

    def get(self, key: str) -> Batch | None:
        """The batch with a key; ``None`` when this store has none, or none that can be read."""
        known = self._known.get(key)
        if known is not None and known.job:
            return known
        if not is_key(key):
            return None
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            value = json.loads((self._folder / key / "batch.json").read_bytes())
            tasks = {int(number): str(stage_id) for number, stage_id in value["tasks"].items()}
            self._known[key] = Batch(
                key, self._folder / key, tasks, value["job"], value["user"], value["created"], value["wishes"]
            )
            return self._known[key]
        return None

    def __iter__(self) -> Iterator[Batch]:
        """The batches in the order in which they were given."""
        names: list[str] = []
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            names = os.listdir(self._folder)
        found = [batch for name in names if (batch := self.get(name)) is not None]
        return iter(sorted(found, key=lambda batch: (batch.created, batch.job.zfill(KEY_LENGTH), batch.key)))

    def jobs(self) -> dict[str, list[tuple[Batch, str]]]:
        """The jobs that each stage has been given to, by its id, with the batch of each; the latest is the last.

        Batches without a job are none: the scheduler is being asked, or its answer was lost.
        """
        found: dict[str, list[tuple[Batch, str]]] = {}
        for batch in self:
            for number, stage_id in batch.tasks.items() if batch.job else ():
                found.setdefault(stage_id, []).append((batch, f"{batch.job}_{number}"))
        return found

    def retire(self, key: str) -> None:
        """Notes the stages of a batch that is about to be removed: its jobs have been given, and go on counting."""
        batch = self.get(key)
        if batch is None or not batch.job:
            return
        line = json.dumps({"key": key, "stages": sorted(batch.tasks.values())}, separators=(",", ":"))
        with atomic.storing(self._folder), open(self._folder / RETIRED, "ab") as file:
            file.write(f"\n{line}".encode())  # on a line of its own, whatever a kill has left of the last one

    def given(self) -> Counter[str]:
        """How many jobs each stage has ever been given to, by its id, those of removed batches included."""
        stages = {batch.key: list(batch.tasks.values()) for batch in self if batch.job}
        with contextlib.suppress(OSError), open(self._folder / RETIRED, "rb") as lines:
            for line in lines:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    retired = json.loads(line)
                    stages[retired["key"]] = retired["stages"]
        return Counter(stage_id for given in stages.values() for stage_id in given)

    def needed(self, batch: Batch) -> set[str]:
        """The ids of a batch's stages and of what they read; of the stages alone where their file cannot be read."""
        found = set(batch.tasks.values())
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError), open(batch.stages, "rb") as lines:
            for line in lines:
                found.update(json.loads(line)["stage"]["inputs"].values())
        return found

    def _write(self, batch: Batch) -> None:
        content = {
            "tasks": {str(number): stage_id for number, stage_id in batch.tasks.items()},
            "job": batch.job,
            "user": batch.user,
            "created": batch.created,
            "wishes": dict(batch.wishes),
        }
        with atomic.storing(batch.folder):
            atomic.write_json(batch.folder / "batch.json", content)
        self._known[batch.key] = batch


def is_key(text: str) -> bool:
    """Whether a text has the form of a batch's key."""
    return len(text) == KEY_LENGTH and set(text) <= set("0123456789abcdef")


def task(stages: Path, number: int) -> Stage:
    """The stage of a task. Raises ``HarnessError`` when the file or the task is not there."""
    start = f'{{"task":{number},'.encode()
    try:
        with open(stages, "rb") as lines:
            line = next(line for line in lines if line.startswith(start))
        return Stage.from_json(json.loads(line)["stage"])
    except (OSError, StopIteration, ValueError, KeyError, TypeError) as error:
        remedy = "Give the command that submitted it again."
        raise HarnessError(f"{stages} has no task {number} ({error})", remedy) from error


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(reportable(value), separators=(",", ":"), allow_nan=False).encode() + b"\n"
