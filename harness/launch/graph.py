"""The graph that a run walks: stages in order of priority, joined by the ids of their inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from harness.errors import HarnessError
from harness.store import Stage, Store


class Graph:
    """Stages by id, in the order given, each once."""

    def __init__(self, stages: Iterable[Stage]) -> None:
        self.stages: Mapping[str, Stage] = {stage.id: stage for stage in stages}

    def __iter__(self) -> Iterator[Stage]:
        return iter(self.stages.values())

    def __getitem__(self, stage_id: str) -> Stage:
        return self.stages[stage_id]

    def check(self, store: Store) -> None:
        """Raises ``HarnessError`` when an input is neither in the graph nor done, or can never be ready."""
        for stage in self:
            for role, stage_id in stage.inputs.items():
                if stage_id not in self.stages and not store.is_done(stage_id):
                    raise HarnessError(
                        f"Stage {stage} needs stage {stage_id} as its {role}; it is neither done nor part of this run.",
                        "Run the whole sweep.",
                    )
        placed: set[str] = set()
        while rest := [stage for stage in self if stage.id not in placed]:
            ready = [stage.id for stage in rest if self.inner_inputs(stage) <= placed]
            if not ready:
                raise HarnessError(f"Stages need each other in a circle, among them {rest[0]}.")
            placed.update(ready)

    def in_dependency_order(self) -> list[Stage]:
        """All stages, inputs before those that need them, otherwise in the order given."""
        placed: dict[str, Stage] = {}

        def place(stage: Stage) -> None:
            if stage.id not in placed:
                for stage_id in stage.inputs.values():
                    if stage_id in self.stages:
                        place(self.stages[stage_id])
                placed[stage.id] = stage

        for stage in self:
            place(stage)
        return list(placed.values())

    def inner_inputs(self, stage: Stage) -> set[str]:
        """The inputs of a stage that belong to this graph."""
        return {stage_id for stage_id in stage.inputs.values() if stage_id in self.stages}
