"""``harness plan``: what a run would do, why, and what it would cost."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.collector import paused
from harness.cli.indexing import indexing
from harness.plan import Costs, Outlook, Plan, build, estimate, outlook
from harness.plan.data import DataSource
from harness.plan.preparations import PREPARATIONS
from harness.plan.sweeps import saved_sweeps
from harness.report.fitting import fitted, fold
from harness.report.json_text import indented
from harness.report.quantities import count, duration, quantity
from harness.spec import load
from harness.store import Stage, Store

if TYPE_CHECKING:
    from harness.cli.expectation import Expected


@dataclass(frozen=True)
class Prospect:
    """A plan with its costs and what will happen to each stage."""

    plan: Plan
    costs: Costs
    outlooks: Mapping[str, Outlook]

    def remaining(self) -> list[str]:
        """The ids of stages that are to be computed."""
        return [stage_id for stage_id, found in self.outlooks.items() if found.state in ("run", "resume")]

    def stages(self) -> list[Stage]:
        """The stages to hand to a launcher: all but those that are skipped, and finished ones that read them."""
        skipped = {stage_id for stage_id, found in self.outlooks.items() if found.state == "skip"}
        return [
            stage
            for stage in self.plan.stages.values()
            if stage.id not in skipped
            and (self.outlooks[stage.id].state != "reuse" or skipped.isdisjoint(stage.inputs.values()))
        ]


def make_plan(file: Path, overrides: Sequence[str], cluster: str = "") -> Plan:
    """The plan of a sweep file, on a cluster with this profile."""
    return build(load(file, overrides, cluster), data=DataSource(progress=indexing))


def look_ahead(plan: Plan, store: Store) -> Prospect:
    """What a run of the plan would do in a store."""
    saved = list(saved_sweeps(store.root))
    return Prospect(plan, estimate(plan, store, saved), outlook(plan, store, saved))


def show(file: Path, overrides: Sequence[str], results: Path, as_json: bool, cluster: str = "") -> int:
    """Prints the plan, with its queue on a ``cluster``."""
    with paused():
        store = Store(results)
        prospect = look_ahead(make_plan(file, overrides, cluster), store)
        content, lines = to_json(prospect), [] if as_json else [text(prospect, _room())]
        if prospect.plan.sweep.budget.model_fields_set:
            from harness.cli import budgeting

            content["budget"] = {"limits": budgeting.budget(prospect).limits}
            content["budget"]["spent"] = budgeting.ledger(prospect, store).spending()
            lines += ["", *budgeting.lines(prospect, store)]
        if cluster:
            from harness.cli import queueing

            content["queue"] = queueing.to_json(prospect)
            lines += ["", *queueing.lines(prospect, _room())]
        print(indented(content) if as_json else "\n".join(lines))
    return 0


def _room() -> int | None:
    """The columns of the terminal; a pipe has none, and a line there is a line."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def to_json(prospect: Prospect) -> dict[str, Any]:
    """The prospect as JSON values."""
    plan, costs = prospect.plan, prospect.costs
    users, by_variant = plan.users(), plan.by_variant()
    states = Counter(found.state for found in prospect.outlooks.values())
    return {
        "name": plan.sweep.name,
        "question": plan.sweep.question,
        "runs": len(plan.runs),
        "stages_by_state": {state: states.get(state, 0) for state in ("reuse", "resume", "run", "skip")},
        "core_seconds": round(costs.seconds(prospect.remaining()), 3),
        "variants": [
            {
                "name": variant.name,
                "levels": dict(variant.levels),
                "baseline": variant.is_baseline,
                "parameters": {
                    "total": costs.sizes.variants[variant.name].parameters,
                    "trainable": costs.sizes.variants[variant.name].trainable,
                    "connector": costs.sizes.variants[variant.name].connector,
                },
                "matched": dict(costs.sizes.variants[variant.name].matched),
                "visual_tokens": costs.sizes.variants[variant.name].visual_tokens,
                "train_flops": costs.sizes.variants[variant.name].train_flops,
                "runs": [{"seed": run.seed, "stages": list(run.stages)} for run in by_variant[variant.name]],
            }
            for variant in plan.sweep.variants
        ],
        "stages": [
            {
                "id": stage_id,
                "kind": stage.kind,
                "name": stage.name,
                "state": prospect.outlooks[stage_id].state,
                "reason": prospect.outlooks[stage_id].reason,
                "runs": len(users[stage_id]),
                "flops": costs.stages[stage_id].flops,
                "core_seconds": round(costs.stages[stage_id].seconds, 3),
                "estimated_from": costs.stages[stage_id].basis,
            }
            for stage_id, stage in plan.stages.items()
        ],
        "expected": _expected(prospect).to_json(),
        "notes": list(plan.sweep.notes),
    }


def text(prospect: Prospect, room: int | None = None) -> str:
    """The prospect for people: the sum, every variant, every stage with its reason."""
    sweep = prospect.plan.sweep
    lines = [f"{sweep.name}: {sweep.question}" if sweep.question else sweep.name, summary(prospect)]
    lines += [f"note: {note}" for note in sweep.notes]
    lines += _expected(prospect).lines()
    tables = [*_variants(prospect, room), "", *_stages(prospect, room), ""]
    return "\n".join([*_folded(lines, room), "", *tables, *_folded(_bases(prospect), room)])


def _folded(lines: Sequence[str], room: int | None) -> list[str]:
    return [part for line in lines for part in fold(line, room)]


def _expected(prospect: Prospect) -> Expected:
    # numpy comes with it, which `harness --help` need not wait for.
    from harness.cli.expectation import Expected

    plan = prospect.plan
    # What only prepares is shared, and costs no run.
    runs = [[i for i in run.stages if plan.stages[i].kind not in PREPARATIONS] for run in plan.runs]
    seconds = sum(prospect.costs.seconds(stages) for stages in runs) / max(1, len(runs))
    return Expected(plan.sweep, seconds)


def summary(prospect: Prospect) -> str:
    """One line: how much there is and how much of it is left."""
    sweep = prospect.plan.sweep
    states = Counter(found.state for found in prospect.outlooks.values())
    parts = [f"{states[state]} to {state}" for state in ("run", "resume", "reuse", "skip") if states[state]]
    left = prospect.costs.seconds(prospect.remaining())
    price = f"about {duration(left)} on one core" if left else "nothing to compute"
    runs = f"{count(len(sweep.variants), 'variant')} × {count(len(sweep.seeds), 'seed')}"
    return f"{runs}, {count(len(prospect.outlooks), 'stage')}: {', '.join(parts)}; {price}"


def _variants(prospect: Prospect, room: int | None) -> list[str]:
    plan, costs = prospect.plan, prospect.costs
    users = plan.users()
    remaining = set(prospect.remaining())
    counted: set[str] = set()
    rows = [("variant", "parameters", "trained", "connector", "tokens/image", "train FLOPs", "stages", "core time")]
    variants = {stage_id: {run.variant.name for run in runs} for stage_id, runs in users.items()}
    for name, runs in plan.by_variant().items():
        own = list(dict.fromkeys(stage_id for run in runs for stage_id in run.stages))
        states = Counter(prospect.outlooks[stage_id].state for stage_id in own)
        # What several variants need is counted with the first of them, so that the column adds up to the total.
        first = [stage_id for stage_id in own if stage_id not in counted]
        counted.update(first)
        seconds = costs.seconds(stage_id for stage_id in first if stage_id in remaining)
        cost = costs.sizes.variants[name]
        shared = sum(len(variants[stage_id]) > 1 for stage_id in own)
        rows.append(
            (
                name + (" (baseline)" if runs[0].variant.is_baseline else ""),
                quantity(cost.parameters),
                quantity(cost.trainable),
                quantity(cost.connector),
                str(cost.visual_tokens),
                quantity(cost.train_flops),
                ", ".join(f"{states[state]} {state}" for state in ("run", "resume", "reuse", "skip") if states[state])
                + (f" ({shared} shared)" if shared else ""),
                duration(seconds),
            )
        )
    return fitted(rows, "<>>>>><>", room) + _folded(_matched(prospect), room)


def _matched(prospect: Prospect) -> list[str]:
    """The widths that were found for connectors of a number of parameters."""
    return [
        f"{name}: a {key} of {value} gives the connector {cost.connector:,} parameters"
        for name, cost in prospect.costs.sizes.variants.items()
        for key, value in cost.matched.items()
    ]


def _stages(prospect: Prospect, room: int | None) -> list[str]:
    plan, costs = prospect.plan, prospect.costs
    users = plan.users()
    rows = [("state", "kind", "stage", "runs", "FLOPs", "core time", "reason")]
    for stage_id, stage in plan.stages.items():
        found = prospect.outlooks[stage_id]
        seconds = None if found.state in ("reuse", "skip") else costs.stages[stage_id].seconds
        cells = (str(len(users[stage_id])), quantity(costs.stages[stage_id].flops or None), duration(seconds))
        rows.append((found.state, stage.kind, stage.name, *cells, found.reason))
    return fitted(rows, "<<<>>><", room)


def _bases(prospect: Prospect) -> list[str]:
    """Where the times come from."""
    bases = Counter(prospect.costs.stages[stage_id].basis for stage_id in prospect.remaining())
    words = {
        "recorded": "the same work with another seed",
        "recorded rate": "the speed of earlier stages here",
        "guess": "a guess of one second a picture for models that make label maps",
        "measured rate": "FLOPs at a share of this machine's matrix-product rate (rough)",
    }
    if not bases:
        return []
    return [
        "Times are estimated from " + ", ".join(f"{words[basis]} ({bases[basis]})" for basis in words if bases[basis])
    ]
