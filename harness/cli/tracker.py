"""Where a run stands, from its events: what the live view and the plain lines are made from."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.launch.events import Event
from harness.plan import Costs, Plan, Run

ENDED = ("reused", "finished", "failed", "blocked")


@dataclass
class Active:
    """A stage that is being worked on."""

    kind: str
    name: str
    began: float
    estimate: float
    progress: Mapping[str, Any] = field(default_factory=dict)
    first_step: int | None = None
    first_time: float = 0.0
    where: str = ""

    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        step, steps = self.progress.get("step"), self.progress.get("steps")
        if isinstance(step, int) and isinstance(steps, int) and steps > 0:
            return min(1.0, step / steps)
        return 0.0

    def left(self, now: float) -> float | None:
        """Seconds to its end, from its own speed since this attempt began; ``None`` before two reports."""
        step, steps = self.progress.get("step"), self.progress.get("steps")
        if not isinstance(step, int) or not isinstance(steps, int) or self.first_step is None:
            return None
        done, spent = step - self.first_step, now - self.first_time
        return spent / done * (steps - step) if done > 0 else None

    def words(self, now: float) -> str:
        """``step 120/300, loss 1.23, 35 s left``."""
        from harness.report.quantities import duration

        parts = []
        if "step" in self.progress:
            steps = self.progress.get("steps")
            parts.append(f"step {self.progress['step']}" + (f"/{steps}" if steps else ""))
        if "condition" in self.progress:
            parts.append(str(self.progress["condition"]))
        if isinstance(self.progress.get("loss"), int | float):
            parts.append(f"loss {self.progress['loss']:.3f}")
        left = self.left(now)
        if left is not None:
            parts.append(f"{duration(left)} left")
        return ", ".join(parts) or self.where


class Tracker:
    """Counts stages and runs, and estimates the rest."""

    def __init__(self, plan: Plan, costs: Costs, processes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.plan = plan
        self.processes = max(1, processes)
        self.began = clock()
        self.active: dict[str, Active] = {}
        self.ended: dict[str, str] = {}
        self._costs = costs
        self._clock = clock
        self._spent = self._expected = 0.0
        self._reported: set[int] = set()

    def hear(self, event: Event) -> list[Run]:
        """Takes an event in; returns the runs that have just become complete."""
        stage, now = event.stage, self._clock()
        if event.kind in ("started", "held", "submitted"):
            where = {
                "held": f"another run works on it ({event.reason})",
                "submitted": "; ".join(filter(None, (f"queued as job {event.job}", event.reason))),
            }
            self.active[stage.id] = Active(
                stage.kind, stage.slug, now, self._costs.stages[stage.id].seconds, where=where.get(event.kind, "")
            )
        elif event.kind == "progress":
            active = self.active.get(stage.id)
            if active is None or active.where:
                active = Active(stage.kind, stage.slug, now, self._costs.stages[stage.id].seconds)
                self.active[stage.id] = active
            active.progress = event.progress
            step = event.progress.get("step")
            if isinstance(step, int) and (active.first_step is None or step < active.first_step):
                active.first_step, active.first_time = step, now
        elif event.kind == "retrying":
            self.active.pop(stage.id, None)
        elif event.kind in ENDED:
            done = self.active.pop(stage.id, None)
            self.ended[stage.id] = event.kind if event.outcome != "diverged" else "diverged"
            if done is not None and event.kind == "finished" and done.estimate > 0:
                self._spent += now - done.began
                self._expected += done.estimate
        return self._newly_complete()

    @property
    def runs_done(self) -> int:
        """Runs of which every stage is done."""
        return sum(self._is_done(run) for run in self.plan.runs)

    @property
    def stages_done(self) -> int:
        """Stages that are done, reused ones included."""
        return sum(kind in ("reused", "finished", "diverged") for kind in self.ended.values())

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self.began

    def left(self) -> float:
        """Estimated seconds to the end.

        The estimates of the plan are scaled by what finished stages took against theirs; running stages count by
        their own speed.
        """
        now = self._clock()
        scale = min(20.0, max(0.05, self._spent / self._expected)) if self._expected else 1.0
        running: list[float] = []
        for active in list(self.active.values()):
            own = active.left(now)
            running.append(own if own is not None else max(0.0, active.estimate * scale - (now - active.began)))
        waiting = [
            self._costs.stages[stage_id].seconds * scale
            for stage_id in self.plan.stages
            if stage_id not in self.ended and stage_id not in self.active
        ]
        longest = max([*running, *waiting], default=0.0)
        return max(longest, (sum(running) + sum(waiting)) / self.processes)

    def _is_done(self, run: Run) -> bool:
        return all(self.ended.get(stage_id) in ("reused", "finished") for stage_id in run.stages)

    def _newly_complete(self) -> list[Run]:
        found = [run for n, run in enumerate(self.plan.runs) if n not in self._reported and self._is_done(run)]
        self._reported.update(n for n, run in enumerate(self.plan.runs) if self._is_done(run))
        return found
