"""What a job asks its cluster for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

MEMORY_STEP = 1.5


@dataclass(frozen=True)
class Resources:
    """The wishes of one job; ``None``, 0 and nothing leave it to the cluster.

    ``tasks``: processes of the job, ``None`` is one; ``cpus`` and ``memory_gb`` are those of each, ``gpus`` those
    of a node, of the ``gpu_type`` named. ``options`` are further ones of ``sbatch``, sorted by name; ``exclude``
    nodes to stay away from; ``requeue``: whether Slurm may put the job into the queue again by itself. ``setup``
    are shell lines run before the stage, ``python`` the words that start Python in a job, ``srun`` further words
    for ``srun``, ``scratch`` the node's own folder for data.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time_minutes: int = 240
    memory_gb: float | None = None
    cpus: int | None = None
    gpus: int | None = None
    gpu_type: str | None = None
    exclude: tuple[str, ...] = ()
    options: tuple[tuple[str, str | int | float | bool], ...] = ()
    requeue: bool = True
    setup: tuple[str, ...] = ()
    python: tuple[str, ...] = ()
    srun: tuple[str, ...] = ()
    scratch: str | None = None
    tasks: int | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values of what was asked for."""
        return {name: value for name, value in asdict(self).items() if value != getattr(_NOTHING, name)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Resources:
        """What ``to_json`` wrote, as JSON has it."""
        lists = {each.name for each in fields(cls) if each.default == ()}
        content: dict[str, Any] = {name: tuple(item) if name in lists else item for name, item in value.items()}
        content["options"] = tuple((name, setting) for name, setting in content.get("options", ()))
        return cls(**content)

    @property
    def nodes(self) -> int | None:
        """Nodes on which each task has a GPU of its own; ``None``: as the cluster likes."""
        if (self.tasks or 1) == 1:
            return 1
        return -(-(self.tasks or 1) // self.gpus) if self.gpus else None

    def lasts(self, process_seconds: float) -> float:
        """Seconds that a job takes for so many of one process: its processes share them."""
        return process_seconds / (self.tasks or 1)

    @property
    def all_gpus(self) -> int:
        """The GPUs of all its nodes."""
        return (self.gpus or 0) * (self.nodes or 1)

    def with_more_memory(self) -> Resources:
        """The same with half as much memory again; what was left to the cluster's default stays so."""
        return self if self.memory_gb is None else replace(self, memory_gb=self.memory_gb * MEMORY_STEP)

    def without(self, nodes: Sequence[str]) -> Resources:
        """The same, away from these nodes too."""
        return replace(self, exclude=(*self.exclude, *nodes)) if nodes else self


_NOTHING = Resources()
