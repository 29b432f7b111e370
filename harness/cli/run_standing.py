"""How each run of a sweep stands: the stage that decides it, and how long it still needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.analysis.stored.sweeps import RunEntry, SavedSweep
from harness.launch.pace import Pace, share_left
from harness.launch.status import StageStatus

# What a run is called when its stages are in these states: the first that occurs.
ORDER = ("failed", "diverged", "running", "unknown", "lost", "queued", "waiting", "blocked")
ENDED = ("done", "diverged", "failed", "blocked")


@dataclass(frozen=True)
class RunStanding:
    """A run: its state in one word, the stage that it has it from, and the seconds to its end.

    ``stage`` is ``None`` for a complete run. ``left_seconds`` is without the time in a queue, or behind other runs;
    ``None`` where it ends no more, or nothing is known of a stage's pace.
    """

    run: RunEntry
    state: str
    stage: StageStatus | None = None
    left_seconds: float | None = None

    @property
    def name(self) -> str:
        """The run, for people."""
        return f"{self.run.variant} seed {self.run.seed}"

    def to_json(self) -> dict[str, Any]:
        """JSON values: those of the stage that decides; ``null`` for what is not known."""
        stage = self.stage
        progress = stage.progress if stage is not None else {}
        return {
            "variant": self.run.variant,
            "seed": self.run.seed,
            "state": self.state,
            "stage": stage.stage.id if stage is not None else None,
            "step": progress.get("step"),
            "steps": progress.get("steps"),
            "loss": progress.get("loss"),
            "left_seconds": rounded(self.left_seconds),
            "node": stage.node if stage is not None else "",
            "job": stage.job if stage is not None else "",
            "attempts": stage.attempts if stage is not None else 0,
            "reason": stage.reason if stage is not None else "",
            "stages": list(self.run.stages),
        }


@dataclass(frozen=True)
class Standing:
    """All runs, and the sweep: ``at_work`` stages are running, ``left_seconds`` is what they need if it stays so."""

    runs: tuple[RunStanding, ...]
    at_work: int
    left_seconds: float | None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to run: every run is complete, or diverged and will never be."""
        return all(run.state in ("complete", "diverged") for run in self.runs)


def stand(sweep: SavedSweep, found: Mapping[str, StageStatus]) -> Standing:
    """How the runs of a sweep stand, from the status of their stages."""
    left = _Left(sweep, found)
    runs = []
    for run in sweep.runs:
        state = run_state(run, found)
        stage = next((found[stage_id] for stage_id in concerned(run, found) if found[stage_id].state == state), None)
        goes_on = state in ("running", "unknown", "queued", "waiting", "lost")
        runs.append(RunStanding(run, state, stage, left.of_run(concerned(run, found)) if goes_on else None))
    at_work = sum(each.state == "running" for each in found.values())
    needed = dict.fromkeys(stage_id for run in sweep.runs for stage_id in concerned(run, found))
    return Standing(tuple(runs), at_work, left.of_all(needed, at_work))


def run_state(run: RunEntry, found: Mapping[str, StageStatus]) -> str:
    """The state of a run in one word."""
    states = {found[stage_id].state for stage_id in concerned(run, found)}
    return next((state for state in ORDER if state in states), "complete")


def concerned(run: RunEntry, found: Mapping[str, StageStatus]) -> tuple[str, ...]:
    """The stages that decide how a run stands; features only as long as something has to read them."""
    others = (*run.train, *run.evaluations)
    return others if all(found[stage_id].state == "done" for stage_id in others) else run.stages


def rounded(seconds: float | None) -> float | None:
    """Seconds to a tenth."""
    return None if seconds is None else round(seconds, 1)


class _Left:
    """Seconds that stages still need: those at work by their own speed, the others by what finished ones took."""

    def __init__(self, sweep: SavedSweep, found: Mapping[str, StageStatus]) -> None:
        self._sweep = sweep
        self._found = found
        self._pace = Pace(
            (each.stage.kind, sweep.stages.flops(stage_id), each.seconds)
            for stage_id, each in found.items()
            if each.seconds is not None and each.state == "done"
        )
        self._ends: dict[str, float | None] = {}

    def of_run(self, stage_ids: tuple[str, ...]) -> float | None:
        """Seconds to the end of the last of them; each begins when its inputs have ended."""
        return _longest(self._end(stage_id) for stage_id in stage_ids)

    def of_all(self, stage_ids: Mapping[str, Any], at_work: int) -> float | None:
        """Seconds to the end of all that can end, so many of them at a time; ``None`` when nobody is at work."""
        open_ids = [s for s in stage_ids if self._found[s].state not in ENDED]
        own = [self._own(stage_id) for stage_id in open_ids]
        longest = _longest(self._end(stage_id) for stage_id in open_ids)
        if not at_work or not own or longest is None:
            return None
        return max(longest, sum(each or 0.0 for each in own) / at_work)

    def _own(self, stage_id: str) -> float | None:
        each = self._found[stage_id]
        if each.state in ENDED:
            return 0.0
        if each.left_seconds is not None:
            return each.left_seconds
        seconds = self._pace.seconds(each.stage.kind, self._sweep.stages.flops(stage_id))
        return None if seconds is None else seconds * share_left(each.progress)

    def _end(self, stage_id: str) -> float | None:
        if stage_id not in self._ends:
            own = self._own(stage_id)
            if own:
                inputs = self._found[stage_id].stage.inputs.values()
                before = _longest(self._end(each) for each in inputs if each in self._found)
                own = None if before is None else own + before
            self._ends[stage_id] = own
        return self._ends[stage_id]


def _longest(seconds: Any) -> float | None:
    longest = 0.0
    for each in seconds:
        if each is None:
            return None
        longest = max(longest, each)
    return longest
