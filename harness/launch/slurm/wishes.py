"""What the job of each stage of a plan asks for: as its variants say in ``cluster``, for the time that it will take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from harness.launch.siblings import ranks_of
from harness.launch.slurm.resources import Resources
from harness.plan import Costs, Plan
from harness.plan.cost import RECORDED
from harness.spec.schema import ClusterConfig

ROOM = 3.0  # a recorded price times this; a job that needs longer all the same goes on in the next one
SHORTEST_MINUTES = 10


def wishes(plan: Plan, costs: Costs) -> dict[str, Resources]:
    """Resources by stage id.

    What several variants need asks for the most that one of them does, and otherwise as the first of them. Of a stage
    whose like is on record, the time is what that took, with room, on a coarse scale (10, 20, 40 … minutes), so that
    stages of about the same length stay in one array: short jobs start earlier.
    """
    found = {}
    known: dict[tuple[str, tuple[int, ...]], Resources] = {}
    for stage_id, users in plan.users().items():
        kind = plan.stages[stage_id].kind
        clusters = {id(run.variant.config.cluster): run.variant.config.cluster for run in users}
        key = (kind, tuple(sorted(clusters)))
        if key not in known:
            known[key] = _combined(cluster.of(kind) for cluster in clusters.values())
        wish, cost = known[key], costs.stages[stage_id]
        ranks = ranks_of(plan.stages[stage_id])
        if ranks > 1:
            wish = replace(wish, tasks=ranks)
        if cost.basis in RECORDED:
            wish = _timed(wish, wish.lasts(cost.process_seconds))
        found[stage_id] = wish
    return found


def _combined(clusters: Iterable[ClusterConfig]) -> Resources:
    first, *others = (resources(cluster) for cluster in clusters)
    numbers: Mapping[str, float | None] = {
        name: max(getattr(each, name) or 0 for each in (first, *others))
        for name in ("time_minutes", "memory_gb", "cpus", "gpus")
    }
    return replace(first, **numbers)  # type: ignore[arg-type]


def resources(cluster: ClusterConfig) -> Resources:
    """What a section ``cluster`` asks for."""
    return Resources(
        partition=cluster.partition,
        account=cluster.account,
        qos=cluster.qos,
        time_minutes=cluster.time_minutes,
        memory_gb=cluster.memory_gb,
        cpus=cluster.cpus,
        gpus=cluster.gpus,
        gpu_type=cluster.gpu_type,
        exclude=cluster.exclude,
        options=tuple(sorted(cluster.sbatch.items())),
        requeue=cluster.requeue,
        setup=cluster.setup,
        python=cluster.python,
        srun=cluster.srun,
        scratch=cluster.scratch,
    )


def _timed(wish: Resources, seconds: float) -> Resources:
    steps = max(0, math.ceil(math.log2(max(1.0, seconds * ROOM / 60 / SHORTEST_MINUTES))))
    return replace(wish, time_minutes=min(wish.time_minutes, SHORTEST_MINUTES * 2**steps))
