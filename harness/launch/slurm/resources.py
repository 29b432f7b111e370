"""What a job asks its cluster for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

MEMORY_STEP = 1.5


@dataclass(frozen=True)
class Resources:
    """The wishes of one job; ``None`` and 0 leave it to the cluster. ``setup`` are shell lines run before it.

    ``requeue``: whether Slurm may put the job into the queue again by itself. ``tasks``: processes of the job, ``None``
    is one; ``cpus`` and ``memory_gb`` are those of each, ``gpus`` those of a node.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time_minutes: int = 240
    memory_gb: float | None = None
    cpus: int | None = None
    gpus: int | None = None
    setup: tuple[str, ...] = ()
    exclude: str | None = None
    requeue: bool = True
    tasks: int | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values of what was asked for."""
        return {name: value for name, value in asdict(self).items() if value != getattr(_NOTHING, name)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Resources:
        """What ``to_json`` wrote."""
        return cls(**{**value, "setup": tuple(value.get("setup", ()))})

    @property
    def nodes(self) -> int | None:
        """Nodes on which each task has a GPU of its own; ``None``: as the cluster likes."""
        if (self.tasks or 1) == 1:
            return 1
        return -(-(self.tasks or 1) // self.gpus) if self.gpus else None

    def with_more_memory(self) -> Resources:
        """The same with half as much memory again; what was left to the cluster's default stays so."""
        return self if self.memory_gb is None else replace(self, memory_gb=self.memory_gb * MEMORY_STEP)


_NOTHING = Resources()
