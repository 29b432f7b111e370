"""What a sweep would look like in the queue, before it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.launch.slurm.arrays import arrange
from harness.launch.slurm.resources import Resources
from harness.launch.slurm.settings import DEFAULT_ARRAY
from harness.store import Stage


@dataclass(frozen=True)
class Group:
    """Job arrays of one kind of stage with the same wishes: ``seconds`` are the jobs' estimates together."""

    kind: str
    wish: Resources
    arrays: int
    jobs: int
    seconds: float

    @property
    def gpu_hours(self) -> float:
        """What they would spend."""
        return self.seconds * self.wish.all_gpus / 3600

    @property
    def core_hours(self) -> float:
        """What they would spend, of the cores that they ask for."""
        return self.seconds * (self.wish.cpus or 1) * (self.wish.tasks or 1) / 3600


def shape(stages: Sequence[Stage], wishes: Mapping[str, Resources], seconds: Mapping[str, float]) -> list[Group]:
    """The job arrays of stages that are to be computed, in the order of their submission.

    Arrays are cut at Slurm's own ``MaxArraySize``: the cluster is not asked.
    """
    found: dict[tuple[str, Resources], Group] = {}
    for array in arrange(stages, {}, lambda stage: wishes[stage.id], DEFAULT_ARRAY):
        assert isinstance(array.wish, Resources)
        kind = next(iter(array.tasks.values())).kind
        before = found.get((kind, array.wish), Group(kind, array.wish, 0, 0, 0.0))
        spent = sum(seconds[stage.id] for stage in array.tasks.values())
        found[kind, array.wish] = Group(
            kind, array.wish, before.arrays + 1, before.jobs + len(array.tasks), before.seconds + spent
        )
    return list(found.values())
