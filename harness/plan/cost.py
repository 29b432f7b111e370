"""What a plan costs, before anything is spent: FLOPs from configs, time from what was recorded.

The time of a stage is, in this order: what the same work took with another seed; its FLOPs at the rate at which other
stages of its kind ran in this results folder; its FLOPs at a share of the matrix-product rate measured now. The ratio
of wall time to FLOPs depends on model size, so among recorded stages the nearest in FLOPs count.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError
from harness.plan.graph import Plan
from harness.plan.sizes import Sizes, measure
from harness.store import Record, Stage, Store
from harness.store.encoding import canonical

SHARES: Mapping[str, float] = {"features": 0.3, "train": 0.42, "evaluate": 0.2}
"""Share of the matrix-product rate that stages reach where nothing is recorded (measured at the micro scale)."""

OVERHEAD_SECONDS: Mapping[str, float] = {"features": 2.0, "train": 1.0, "evaluate": 1.0}
"""Loading, saving and checksums."""

NEAREST = 5
NEAR = 10.0
"""Only stages within this factor in FLOPs say how fast others are: what a short one took is mostly how it starts."""

LABELLING_SECONDS = 1.0
"""A picture, for a model that makes label maps and has made none here: a guess. Its FLOPs are not known, and count as
none.
"""


RECORDED = ("recorded", "recorded rate")
"""Bases of an estimate that lean on stages of the same results folder, and so on machines like those to come."""


@dataclass(frozen=True)
class StageCost:
    """Estimated FLOPs and core-seconds of a stage; ``basis`` says where the seconds come from.

    ``wall``: the wall seconds of one process, however many threads or GPUs it had, where they are on record.
    """

    flops: int
    seconds: float
    basis: str
    wall: float | None = None

    @property
    def process_seconds(self) -> float:
        """Wall seconds of one process: where none are on record, of one with a single core."""
        return self.seconds if self.wall is None else self.wall


@dataclass(frozen=True)
class Costs:
    """Sizes, and costs by stage id."""

    sizes: Sizes
    stages: Mapping[str, StageCost]

    def seconds(self, stage_ids: Iterable[str], processes: int = 1) -> float:
        """Estimated wall seconds of stages, each once, spread over ``processes`` one-core workers."""
        each = [self.stages[stage_id].seconds for stage_id in dict.fromkeys(stage_ids)]
        return max([sum(each) / max(1, processes), *each], default=0.0)


@dataclass(frozen=True)
class Recorded:
    """A finished stage that a forecast can lean on: what it was, its estimated FLOPs, what it took.

    ``seconds`` are those of cores, ``wall`` those of a clock on the wall times the processes that shared the work, both
    of all attempts. ``labeller``: the digest of the model that made label maps of so many ``pictures``, where that is
    what it did.
    """

    kind: str
    twin: str
    flops: int
    seconds: float
    labeller: str = ""
    pictures: int = 0
    wall: float | None = None


def estimate(plan: Plan, store: Store, saved: Iterable[Mapping[str, Any]] = ()) -> Costs:
    """The costs of a plan. ``saved`` are the records of earlier sweeps in the same results folder."""
    sizes = measure(plan)
    clock = _Clock(list(_recorded(plan, sizes.flops, store, saved)))
    costs = {
        stage_id: clock.cost(stage, sizes.flops[stage_id], sizes.pictures.get(stage_id, 0))
        for stage_id, stage in plan.stages.items()
    }
    return Costs(sizes, costs)


class _Clock:
    """Seconds from FLOPs."""

    def __init__(self, recorded: Sequence[Recorded]) -> None:
        self._twins: dict[str, list[Recorded]] = {}
        self._kinds: dict[str, list[Recorded]] = {}
        self._labellers: dict[str, list[Recorded]] = {}
        for entry in recorded:
            if entry.pictures:
                self._labellers.setdefault(entry.labeller, []).append(entry)
            self._twins.setdefault(entry.twin, []).append(entry)
            if entry.flops > 0:
                self._kinds.setdefault(entry.kind, []).append(entry)
        self._rate = 0.0

    def cost(self, stage: Stage, flops: int, pictures: int = 0) -> StageCost:
        twins = self._twins.get(_twin(stage.to_json())) if self._twins else None
        if twins:
            return _typical(flops, "recorded", [(entry, 1.0) for entry in twins])
        if stage.kind == "experts":
            known = self._labellers.get(stage.digests["model"])
            if known:
                return _typical(flops, "recorded rate", [(entry, pictures / entry.pictures) for entry in known])
            return StageCost(flops, pictures * LABELLING_SECONDS, "guess")
        near = [each for each in self._kinds.get(stage.kind, ()) if each.flops / NEAR <= flops <= each.flops * NEAR]
        nearest = sorted(near, key=lambda entry: abs(entry.flops - flops))[:NEAREST]
        if nearest:
            return _typical(flops, "recorded rate", [(entry, flops / entry.flops) for entry in nearest])
        if not self._rate:
            self._rate = matrix_product_rate()
        seconds = flops / (self._rate * SHARES[stage.kind]) + OVERHEAD_SECONDS[stage.kind]
        return StageCost(flops, seconds, "measured rate")


def _typical(flops: int, basis: str, known: Sequence[tuple[Recorded, float]]) -> StageCost:
    """The median of recorded stages, each with how much of its work this is."""
    seconds = statistics.median(entry.seconds * share for entry, share in known)
    walls = [entry.wall * share for entry, share in known if entry.wall is not None]
    return StageCost(flops, seconds, basis, statistics.median(walls) if walls else None)


def matrix_product_rate(size: int = 384, seconds: float = 0.05) -> float:
    """fp32 matrix products a core-second, in FLOPs, measured now."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    left = np.ones((size, size), dtype=np.float32)
    # One thread and its own clock: threads that wait for each other count as work, ten times over on a busy machine.
    with threadpool_limits(1, "blas"):
        left @ left
        rounds, spent, began = 0, 0.0, time.thread_time()
        while spent < seconds:  # once at least
            left @ left
            rounds += 1
            spent = time.thread_time() - began
    return rounds * 2.0 * size**3 / spent


def _recorded(
    plan: Plan, flops: Mapping[str, int], store: Store, saved: Iterable[Mapping[str, Any]]
) -> Iterable[Recorded]:
    known: dict[str, tuple[Mapping[str, Any], int]] = {}
    for sweep in saved:
        for content in sweep["stages"]:
            if isinstance(content, dict) and isinstance(content.get("id"), str):
                known[content["id"]] = (content, int(content.get("flops") or 0))
    known.update({stage_id: (stage.to_json(), flops[stage_id]) for stage_id, stage in plan.stages.items()})
    for stage_id, (content, count) in known.items():
        record = _record(store, stage_id)
        if record is not None and record.outcome == "complete":
            labeller = content["digests"].get("model", "") if content["kind"] == "experts" else ""
            pictures = int(record.summary.get("pictures") or 0) if labeller else 0
            wall = record.took * int(record.summary.get("ranks") or 1)
            yield Recorded(content["kind"], _twin(content), count, record.total_core_seconds, labeller, pictures, wall)


def _record(store: Store, stage_id: str) -> Record | None:
    try:
        return store.record(stage_id)
    except HarnessError:
        return None  # damaged, or not an id at all


def _twin(content: Mapping[str, Any]) -> str:
    """Equal for stages that do the same amount of the same work: the seed and the ids of inputs aside."""
    config = {key: value for key, value in content["config"].items() if key != "seed"}
    return canonical([content["kind"], config, sorted(content["inputs"]), content["digests"]])
