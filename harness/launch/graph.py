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
        self.in_dependency_order()

    def in_dependency_order(self) -> list[Stage]:
        """All stages, inputs before those that need them, otherwise in the order given.

        Raises ``HarnessError`` when stages need each other in a circle.
        """
        placed: dict[str, Stage] = {}
        opened: set[str] = set()
        for first in self.stages:
            path = [first]  # a stack of our own: chains may be longer than Python's
            while path:
                stage = self[path[-1]]
                missing = [i for i in stage.inputs.values() if i in self.stages and i not in placed]
                if not missing:
                    placed.setdefault(path.pop(), stage)
                elif missing[0] in opened:  # and not placed, so it stands further up on the path
                    raise HarnessError(f"Stages need each other in a circle, among them {stage}.")
                else:
                    opened.add(missing[0])
                    path.append(missing[0])
        return list(placed.values())

    def inner_inputs(self, stage: Stage) -> set[str]:
        """The inputs of a stage that belong to this graph."""
        return {stage_id for stage_id in stage.inputs.values() if stage_id in self.stages}
