"""``harness plan --cluster``: the queue that a sweep would make, and its price there."""

from __future__ import annotations

from typing import Any

from harness.cli.planning import Prospect
from harness.launch.budget import amount
from harness.launch.slurm.resources import Resources
from harness.launch.slurm.shape import Group, shape
from harness.launch.slurm.wishes import wishes
from harness.report.fitting import fitted
from harness.report.quantities import count, duration


def groups(prospect: Prospect) -> list[Group]:
    """What would be submitted."""
    remaining = [prospect.plan.stages[stage_id] for stage_id in prospect.remaining()]
    asked = wishes(prospect.plan, prospect.costs)
    seconds = {stage.id: asked[stage.id].lasts(prospect.costs.stages[stage.id].process_seconds) for stage in remaining}
    return shape(remaining, asked, seconds)


def lines(prospect: Prospect, room: int | None) -> list[str]:
    """For people."""
    found = groups(prospect)
    if not found:
        return ["Nothing would be submitted"]
    jobs, arrays = sum(group.jobs for group in found), sum(group.arrays for group in found)
    gpu_hours, core_hours = sum(g.gpu_hours for g in found), sum(g.core_hours for g in found)
    price = f"about {amount(gpu_hours)} GPU-hours" if gpu_hours else f"about {amount(core_hours)} core-hours"
    rows = [("jobs of", "arrays", "jobs", "each asks for", "work of all")]
    rows += [(g.kind, str(g.arrays), str(g.jobs), asked(g.wish), duration(g.seconds)) for g in found]
    head = f"In the queue: {count(jobs, 'job')} in {count(arrays, 'array')}, and one that looks after them; {price}"
    return [head, *fitted(rows, "<>><>", room)]


def to_json(prospect: Prospect) -> list[dict[str, Any]]:
    """JSON values."""
    return [
        {
            "kind": group.kind,
            "arrays": group.arrays,
            "jobs": group.jobs,
            "asks_for": group.wish.to_json(),
            "seconds": round(group.seconds, 3),
            "gpu_hours": round(group.gpu_hours, 3),
            "core_hours": round(group.core_hours, 3),
        }
        for group in groups(prospect)
    ]


def asked(wish: Resources) -> str:
    """What a job asks for, in words."""
    parts = [f"{count(wish.tasks, 'process', 'processes')}, each"] if wish.tasks and not wish.gpus else []
    model = f" ({wish.gpu_type})" if wish.gpu_type else ""
    parts += [f"{wish.all_gpus} GPU{'s' if wish.all_gpus != 1 else ''}{model}"] if wish.gpus else []
    parts += [count(wish.cpus or 1, "core")]
    parts += [f"{wish.memory_gb:g} GB"] if wish.memory_gb else []
    parts += [f"{wish.time_minutes} min"]
    parts += [f"{name} {value}" for name in ("partition", "qos", "account") if (value := getattr(wish, name))]
    return ", ".join(parts)
