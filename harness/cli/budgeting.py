"""The budget of a sweep, before anything of it is spent and where nothing of it is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from harness.cli.planning import Prospect
from harness.errors import SpecError
from harness.launch.budget import UNITS, Budget, Ledger, amount, budget_of
from harness.launch.slurm.wishes import wishes
from harness.plan.cost import RECORDED
from harness.report.quantities import count
from harness.store import Store


def budget(prospect: Prospect) -> Budget:
    """As the sweep file says."""
    return budget_of(prospect.plan.sweep.budget.model_dump())


def ledger(prospect: Prospect, store: Store) -> Ledger:
    """What the sweep has spent."""
    asked = wishes(prospect.plan, prospect.costs)
    gpus = {stage_id: wish.all_gpus for stage_id, wish in asked.items()}
    return Ledger(store, list(prospect.plan.stages.values()), gpus, budget(prospect))


def lines(prospect: Prospect, store: Store) -> list[str]:
    """What is spent of each limit, and about how much is to come."""
    limits = budget(prospect).limits
    if not limits:
        return []
    spent, known, rough = ledger(prospect, store).spending(), _to_come(prospect, True), _to_come(prospect, False)
    parts = []
    for name, limit in limits.items():
        coming = known[name] + rough[name]
        later = f", about {amount(coming)} to come" + (" (rough)" if rough[name] else "") if coming else ""
        parts.append(f"{amount(spent[name])} of {amount(limit)} {UNITS[name]} spent{later}")
    return [f"Budget: {'; '.join(parts)}"]


def require_affordable(prospect: Prospect, store: Store, submits: bool) -> None:
    """Raises ``SpecError`` when what is left to do costs more than what is left, by prices on record.

    Where only rough prices are known the run begins, and ends when the budget is spent. Jobs cost where it ``submits``.
    """
    limits = budget(prospect).limits
    if not limits:
        return
    spent, coming = ledger(prospect, store).spending(), _to_come(prospect, True)
    for name, limit in limits.items():
        if (name == "jobs" and not submits) or not coming[name] or spent[name] + coming[name] <= limit:
            continue
        raise SpecError(
            f"what is left of {prospect.plan.sweep.name} needs about {amount(coming[name])} {UNITS[name]};"
            f" of its budget of {amount(limit)}, {amount(spent[name])} are spent",
            f"Raise budget.{name}, or run less: fewer seeds, levels or tasks.",
        )


def reasons(blocked: Iterable[str]) -> list[str]:
    """Why stages cannot run: those that many share are told once."""
    return [f"{count(number, 'stage')} cannot run: {reason}" for reason, number in Counter(blocked).items() if reason]


def _to_come(prospect: Prospect, on_record: bool) -> dict[str, float]:
    asked = wishes(prospect.plan, prospect.costs)
    gpu_seconds = core_seconds = 0.0
    for stage_id in prospect.remaining():
        cost = prospect.costs.stages[stage_id]
        if (cost.basis in RECORDED) is on_record:
            wish = asked[stage_id]
            gpu_seconds += wish.lasts(cost.process_seconds) * wish.all_gpus
            core_seconds += cost.seconds
    jobs = len(prospect.remaining()) if on_record else 0
    return {"gpu_hours": gpu_seconds / 3600, "core_hours": core_seconds / 3600, "jobs": jobs, "disk_gb": 0.0}
