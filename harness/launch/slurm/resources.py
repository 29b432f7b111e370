"""What a job asks its cluster for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Resources:
    """The wishes of one job; ``None`` and 0 leave it to the cluster. ``setup`` are shell lines run before it.

    ``requeue``: whether Slurm may put the job into the queue again by itself.
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

    def to_json(self) -> dict[str, Any]:
        """JSON values, without what is left to the cluster."""
        return {name: value for name, value in asdict(self).items() if value not in (None, (), 0)}
