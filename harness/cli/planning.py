"""``harness plan``: what a run would do, why, and what it would cost."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from harness.analysis.power import Noise, detectable, seeds_to_detect
from harness.analysis.price import hour
from harness.plan import Costs, Outlook, Plan, build, estimate, outlook
from harness.plan.data import DataSource
from harness.plan.sweeps import saved_sweeps
from harness.report.layout import columns
from harness.report.quantities import count, duration, quantity
from harness.spec import Sweep, load
from harness.store import Store


@dataclass(frozen=True)
class Prospect:
    """A plan with its costs and what will happen to each stage."""

    plan: Plan
    costs: Costs
    outlooks: Mapping[str, Outlook]

    def remaining(self) -> list[str]:
        """The ids of stages that are not finished."""
        return [stage_id for stage_id, found in self.outlooks.items() if found.state != "reuse"]


@dataclass(frozen=True)
class Expected:
    """What the plan could show on its primary score: the smallest difference by seeds, and for a core-hour."""

    sweep: Sweep
    run_seconds: float

    @property
    def noise(self) -> Noise | None:
        """Of a paired difference from seed to seed, as it is known of the scale."""
        known = self.sweep.analysis.seed_noise
        deviation = getattr(known, self.sweep.analysis.primary, None)
        return Noise(deviation * sqrt(2), known.degrees) if known is not None and deviation is not None else None

    def detectable(self, seeds: int) -> float | None:
        """The smallest true difference that is found with the declared power; ``None`` below two seeds."""
        analysis, noise = self.sweep.analysis, self.noise
        return detectable(noise.deviation, seeds, analysis.confidence, analysis.power) if noise else None

    def seeds_needed(self) -> int | None:
        """The fewest seeds that find a difference of ``min_effect``."""
        analysis, noise = self.sweep.analysis, self.noise
        if noise is None or analysis.min_effect == 0:
            return None
        return seeds_to_detect(analysis.min_effect, noise.deviation, analysis.confidence, analysis.power)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        seeds, effect = hour(self.run_seconds, self.noise, self.sweep.analysis.confidence, self.sweep.analysis.power)
        return {
            "noise": self.noise.deviation if self.noise else None,
            "detectable": {str(n): self.detectable(n) for n in sorted({2, 3, 5, 10, len(self.sweep.seeds)} - {1})},
            "seeds_for_min_effect": self.seeds_needed(),
            "core_seconds_per_run": round(self.run_seconds, 3),
            "core_hour": {"seeds": seeds, "detectable": effect},
        }

    def lines(self) -> list[str]:
        """For people."""
        analysis, planned = self.sweep.analysis, len(self.sweep.seeds)
        if self.noise is None:
            return [
                f"What this can show is not known: the seed noise of {analysis.primary} at the scale {self.sweep.scale}"
                " is not (analysis.seed_noise, measured by ablations/aa.yaml)"
            ]
        effect = self.detectable(planned)
        if effect is None:
            shown = "One seed shows what these trained models do, not what another training would"
            effect = self.detectable(3)
            first = f"{shown}; three seeds would find differences of {analysis.primary} from {effect:.1f} points on"
        else:
            first = f"Finds differences of {analysis.primary} from {effect:.1f} points on ({100 * analysis.power:g} %)"
        needed = self.seeds_needed()
        if needed is not None:
            first += f"; {needed} seeds would find {analysis.min_effect:g}, the smallest that matters"
        seeds, hourly = hour(self.run_seconds, self.noise, analysis.confidence, analysis.power)
        if hourly is None:
            return [first]
        return [first, f"One core-hour pays {seeds} seeds of two variants and finds {hourly:.1f} points"]


def expected(prospect: Prospect) -> Expected:
    """What the plan could show. A run costs what its own stages do; features are shared by all."""
    plan = prospect.plan
    kinds = {stage_id: stage.kind for stage_id, stage in plan.stages.items()}
    runs = [[i for i in run.stages if kinds[i] != "features"] for run in plan.runs]
    seconds = sum(prospect.costs.seconds(stages) for stages in runs) / max(1, len(runs))
    return Expected(plan.sweep, seconds)


def make_plan(file: Path, overrides: Sequence[str]) -> Plan:
    """The plan of a sweep file."""
    return build(load(file, overrides), data=DataSource(progress=indexing))


def look_ahead(plan: Plan, store: Store) -> Prospect:
    """What a run of the plan would do in a store."""
    saved = list(saved_sweeps(store.root))
    return Prospect(plan, estimate(plan, store, saved), outlook(plan, store, saved))


def show(file: Path, overrides: Sequence[str], results: Path, as_json: bool) -> int:
    """Prints the plan."""
    prospect = look_ahead(make_plan(file, overrides), Store(results))
    print(json.dumps(to_json(prospect), indent=2, ensure_ascii=False) if as_json else text(prospect))
    return 0


def to_json(prospect: Prospect) -> dict[str, Any]:
    """The prospect as JSON values."""
    plan, costs = prospect.plan, prospect.costs
    users = plan.users()
    states = Counter(found.state for found in prospect.outlooks.values())
    return {
        "name": plan.sweep.name,
        "question": plan.sweep.question,
        "runs": len(plan.runs),
        "stages_by_state": {state: states.get(state, 0) for state in ("reuse", "resume", "run")},
        "core_seconds": round(costs.seconds(prospect.remaining()), 3),
        "variants": [
            {
                "name": variant.name,
                "levels": dict(variant.levels),
                "baseline": variant.is_baseline,
                "parameters": {
                    "total": costs.sizes.variants[variant.name].parameters,
                    "trainable": costs.sizes.variants[variant.name].trainable,
                },
                "visual_tokens": costs.sizes.variants[variant.name].visual_tokens,
                "train_flops": costs.sizes.variants[variant.name].train_flops,
                "runs": [{"seed": run.seed, "stages": list(run.stages)} for run in plan.runs if run.variant is variant],
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
        "expected": expected(prospect).to_json(),
        "notes": list(plan.sweep.notes),
    }


def text(prospect: Prospect) -> str:
    """The prospect for people: the sum, every variant, every stage with its reason."""
    sweep = prospect.plan.sweep
    lines = [f"{sweep.name}: {sweep.question}" if sweep.question else sweep.name, summary(prospect)]
    lines += [f"note: {note}" for note in sweep.notes]
    lines += expected(prospect).lines()
    return "\n".join([*lines, "", *_variants(prospect), "", *_stages(prospect), "", *_bases(prospect)])


def summary(prospect: Prospect) -> str:
    """One line: how much there is and how much of it is left."""
    sweep = prospect.plan.sweep
    states = Counter(found.state for found in prospect.outlooks.values())
    parts = [f"{states[state]} to {state}" for state in ("run", "resume", "reuse") if states[state]]
    left = prospect.costs.seconds(prospect.remaining())
    price = f"about {duration(left)} on one core" if left else "nothing to compute"
    runs = f"{count(len(sweep.variants), 'variant')} × {count(len(sweep.seeds), 'seed')}"
    return f"{runs}, {count(len(prospect.outlooks), 'stage')}: {', '.join(parts)}; {price}"


def _variants(prospect: Prospect) -> list[str]:
    plan, costs = prospect.plan, prospect.costs
    users = plan.users()
    counted: set[str] = set()
    rows = [("variant", "parameters", "trained", "tokens/image", "train FLOPs", "stages", "core time")]
    order = dict.fromkeys(run.variant.name for run in plan.runs)
    for name in order:
        runs = [run for run in plan.runs if run.variant.name == name]
        own = list(dict.fromkeys(stage_id for run in runs for stage_id in run.stages))
        states = Counter(prospect.outlooks[stage_id].state for stage_id in own)
        # What several variants need is counted with the first of them, so that the column adds up to the total.
        first = [stage_id for stage_id in own if stage_id not in counted]
        counted.update(first)
        seconds = costs.seconds(stage_id for stage_id in first if prospect.outlooks[stage_id].state != "reuse")
        cost = costs.sizes.variants[name]
        shared = sum(len({run.variant.name for run in users[stage_id]}) > 1 for stage_id in own)
        rows.append(
            (
                name + (" (baseline)" if runs[0].variant.is_baseline else ""),
                quantity(cost.parameters),
                quantity(cost.trainable),
                str(cost.visual_tokens),
                quantity(cost.train_flops),
                ", ".join(f"{states[state]} {state}" for state in ("run", "resume", "reuse") if states[state])
                + (f" ({shared} shared)" if shared else ""),
                duration(seconds),
            )
        )
    return columns(rows, "<>>>><>")


def _stages(prospect: Prospect) -> list[str]:
    plan, costs = prospect.plan, prospect.costs
    users = plan.users()
    rows = [("state", "kind", "stage", "runs", "FLOPs", "core time", "reason")]
    for stage_id, stage in plan.stages.items():
        found = prospect.outlooks[stage_id]
        seconds = None if found.state == "reuse" else costs.stages[stage_id].seconds
        cells = (str(len(users[stage_id])), quantity(costs.stages[stage_id].flops), duration(seconds))
        rows.append((found.state, stage.kind, stage.name, *cells, found.reason))
    return columns(rows, "<<<>>><")


def _bases(prospect: Prospect) -> list[str]:
    """Where the times come from."""
    bases = Counter(prospect.costs.stages[stage_id].basis for stage_id in prospect.remaining())
    words = {
        "recorded": "the same work with another seed",
        "recorded rate": "the speed of earlier stages here",
        "measured rate": "FLOPs at a share of this machine's matrix-product rate (rough)",
    }
    if not bases:
        return []
    return [
        "Times are estimated from " + ", ".join(f"{words[basis]} ({bases[basis]})" for basis in words if bases[basis])
    ]


def indexing(done: int, total: int, what: str = "indexing the data") -> None:
    """Tells, on a terminal, how far the indexing of a data folder, or ``what`` else reads all of it, is."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r{what}: {100 * done // max(1, total)} %", end=end, file=sys.stderr, flush=True)
