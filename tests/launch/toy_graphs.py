"""Graphs of toy stages, and what to ask of a store in which one has run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness.launch.budget import NO_LIMIT, Budget
from harness.launch.slurm import Resources, WantedRun
from harness.store import Stage, Store

HERE = Path(__file__).resolve().parent


class Toys:
    """Makes toy stages that note what they do in one journal."""

    def __init__(self, folder: Path) -> None:
        self.journal = folder / "journal.txt"
        self.registry = folder / "registry.json"
        self.registry.write_text(json.dumps({"toy": "toys:run"}))

    def stage(self, name: str, **arguments: object) -> Stage:
        """A toy; ``inputs`` maps roles to stages, everything else is its config."""
        inputs: dict[str, Stage] = arguments.pop("inputs", {})  # type: ignore[assignment]
        return Stage(
            kind="toy",
            version=1,
            config={"name": name, **arguments},
            inputs={role: stage.id for role, stage in inputs.items()},
            slug=name,
            location={"journal": str(self.journal)},
        )

    def chain(self, length: int, name: str = "link", **arguments: object) -> list[Stage]:
        """Stages each of which needs the one before."""
        stages: list[Stage] = []
        for index in range(length):
            inputs = {"before": stages[-1]} if stages else {}
            stages.append(self.stage(f"{name}{index}", inputs=inputs, start=index + 0.1, **arguments))
        return stages

    def fan(self, width: int, **arguments: object) -> list[Stage]:
        """One root, ``width`` stages of two links each upon it, and one that needs them all."""
        root = self.stage("root", start=0.7, **arguments)
        stages = [root]
        ends = {}
        for index in range(width):
            first = self.stage(f"first{index}", inputs={"root": root}, start=index / 7, **arguments)
            second = self.stage(f"second{index}", inputs={"first": first, "root": root}, **arguments)
            stages += [first, second]
            ends[f"end{index}"] = second
        return [*stages, self.stage("gather", inputs=ends, **arguments)]

    def wanted(
        self, stages: Sequence[Stage], wish: Resources | Sequence[Resources], budget: Budget = NO_LIMIT
    ) -> WantedRun:
        """A run of toys on a cluster; ``wish`` is that of every stage's job, or one each."""
        wishes = [wish] * len(stages) if isinstance(wish, Resources) else wish
        return WantedRun("sweep", stages, wishes, registry=self.registry, budget=budget)

    def notes(self, what: str) -> Counter[str]:
        """How often each stage (by id) noted ``what``."""
        if not self.journal.exists():
            return Counter()
        lines = [line.split(" ", 2) for line in self.journal.read_text().splitlines()]
        return Counter(stage_id for stage_id, _, note in lines if note == what)


def results(store: Store, stages: list[Stage]) -> dict[str, dict[str, bytes]]:
    """The bytes of every output of every stage."""
    found = {}
    for stage in stages:
        outputs = store.outputs(stage)
        found[stage.id] = {name: outputs.path(name).read_bytes() for name in outputs.record.outputs}
    return found


def done(store: Store, stages: list[Stage]) -> set[str]:
    """The ids of the stages that are done."""
    return {stage.id for stage in stages if store.is_done(stage)}
