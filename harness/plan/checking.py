"""Stages that check what the runs of a plan have trained (``harness.train.check``); they are no part of a run."""

from __future__ import annotations

from harness.plan.graph import Plan, Run
from harness.spec.experts import COMPUTED_MAPS
from harness.store import Stage

VERSION = 2


def check_stage(plan: Plan, run: Run) -> Stage:
    """The check of a run; runs that train alike have the same."""
    last = plan.stages[run.train[-1]]
    phases = {f"phase.{plan.stages[stage_id].config['name']}": stage_id for stage_id in run.train}
    located = ("data", "world", "manifests", "vision", "language", "runtime")
    maps = {role: made for role, made in last.inputs.items() if role.startswith(COMPUTED_MAPS)}
    return Stage(
        "check",
        VERSION,
        {key: last.config[key] for key in ("phase", "name", "seed")},
        {"model": last.id, **phases, **maps},
        {"data": last.digests["data"]},
        run.variant.name,
        {key: value for key, value in last.location.items() if key in located},
    )
