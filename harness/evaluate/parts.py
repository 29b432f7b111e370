"""What finished batches said, kept while a stage runs: a kill loses at most the batch being decoded."""

from __future__ import annotations

import json
from dataclasses import dataclass

from harness.evaluate.batches import Batch
from harness.store import Workspace

FOLDER = "scratch/batches"


@dataclass(frozen=True)
class Part:
    """Texts of a batch, in the order of its prompts, and the seconds they took."""

    texts: tuple[str, ...]
    seconds: float


class Parts:
    """The finished batches of a stage, one small file each, found by the digest of their prompts."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def load(self, batch: Batch) -> Part | None:
        """The part of a batch; None when it has none that can be read."""
        try:
            value = json.loads(self._workspace.path(self._name(batch)).read_bytes())
            part = Part(tuple(map(str, value["texts"])), float(value["seconds"]))
        except (OSError, ValueError, TypeError, KeyError):
            return None
        whole = value.get("batch") == batch.sha256 and len(part.texts) == len(batch.prompts)
        return part if whole else None

    def keep(self, batch: Batch, part: Part) -> None:
        """Write a part in one step."""
        value = {"batch": batch.sha256, "texts": list(part.texts), "seconds": part.seconds}
        self._workspace.write_json(self._name(batch), value)

    @staticmethod
    def _name(batch: Batch) -> str:
        return f"{FOLDER}/{batch.sha256[:32]}.json"
