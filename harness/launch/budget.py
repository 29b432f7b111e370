"""What a run may spend and what it has spent: read from the attempts of its stages, wherever they were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from harness.store import Stage, Store
from harness.store.attempts import RUNNING
from harness.store.batches import Batches

GIGABYTE = 1e9
UNITS: Mapping[str, str] = {
    "gpu_hours": "GPU-hours",
    "core_hours": "core-hours",
    "jobs": "jobs",
    "disk_gb": "GB on disk",
}


@dataclass(frozen=True)
class Budget:
    """The most of each; ``None`` is no limit. ``gpus``: how many the job of each stage asks for, by its id."""

    gpu_hours: float | None = None
    core_hours: float | None = None
    jobs: int | None = None
    disk_gb: float | None = None

    @property
    def limits(self) -> dict[str, float]:
        """The limits that there are."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}

    def overdrawn(self, spending: Mapping[str, float]) -> list[str]:
        """In words, of what no more is left."""
        return [
            f"{amount(spending[name])} of {amount(limit)} {UNITS[name]}"
            for name, limit in self.limits.items()
            if spending[name] >= limit
        ]


NO_LIMIT = Budget()


class Ledger:
    """What the stages of a run have spent; asked again and again, it reads what is done once."""

    def __init__(self, store: Store, stages: Sequence[Stage], gpus: Mapping[str, int], budget: Budget) -> None:
        self.budget = budget
        self._store = store
        self._stages = stages
        self._gpus = gpus
        self._closed: dict[str, tuple[float, float, float]] = {}

    def spending(self) -> dict[str, float]:
        """By the names of a budget's limits. Running attempts count with what they reported last."""
        rows = [self._closed.get(stage.id) or self._read(stage) for stage in self._stages]
        gpu_seconds, core_seconds, size = (sum(column) for column in zip(*rows, strict=True)) if rows else (0, 0, 0)
        given = Batches(self._store.root).given() if self.budget.jobs is not None else Counter[str]()
        return {
            "gpu_hours": gpu_seconds / 3600,
            "core_hours": core_seconds / 3600,
            "jobs": sum(given[stage.id] for stage in self._stages),
            "disk_gb": size / GIGABYTE,
        }

    def obstacle(self) -> str:
        """Why nothing more may begin; empty when it may."""
        if not self.budget.limits:
            return ""
        # The last job may begin: its number is counted when it is submitted.
        spent = self.budget.overdrawn({**self.spending(), "jobs": 0})
        return f"the budget is spent: {', '.join(spent)}" if spent else ""

    def jobs_left(self) -> int | None:
        """How many jobs may still be submitted; ``None`` without a limit."""
        limit = self.budget.jobs
        return None if limit is None else max(0, limit - int(self.spending()["jobs"]))

    def _read(self, stage: Stage) -> tuple[float, float, float]:
        found = self._store.attempts(stage)
        spent = [self._store.spent(stage, attempt) for attempt in found]
        wall, core = (sum(column) for column in zip(*spent, strict=True)) if spent else (0.0, 0.0)
        record = self._store.record(stage)
        size = sum(output.size for output in record.outputs.values()) if record else _size(self._store.path(stage))
        row = (wall * self._gpus.get(stage.id, 0), core, float(size))
        if record is not None and all(attempt.state != RUNNING for attempt in found):
            self._closed[stage.id] = row
        return row


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:  # gone again
            continue
    return total


def amount(value: float) -> str:
    """A number of a budget's units, for people."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def budget_of(value: Mapping[str, Any]) -> Budget:
    """From JSON values, what is no limit left out."""
    return Budget(**{name: value[name] for name in UNITS if value.get(name) is not None})
