"""What a run tells while it goes on, and what it returns at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.store import Stage

Kind = Literal["reused", "submitted", "started", "progress", "held", "finished", "retrying", "failed", "blocked"]
State = Literal["done", "diverged", "failed", "blocked", "unfinished"]


@dataclass(frozen=True)
class Event:
    """Something happened to a stage.

    * ``reused``: it was done already, or another run has just finished it (``outcome``);
    * ``submitted``: Slurm took it as ``job`` (``reason``: which nodes it stays away from, and why);
    * ``started``: an attempt began (``attempt`` counts from 1; what an earlier one left is resumed);
    * ``progress``: ``progress`` is what the executor reported;
    * ``held``: another run works on it, its result will be used (``reason`` says who);
    * ``finished``: with ``outcome`` ``complete`` or ``diverged``;
    * ``retrying``: an attempt died (``reason``, end of the log in ``tail``), another will follow;
    * ``failed``: there will be no further attempt (``reason``, ``tail``, ``log``);
    * ``blocked``: it cannot run because of another stage (``reason``).
    """

    kind: Kind
    stage: Stage
    outcome: str = ""
    reason: str = ""
    attempt: int = 0
    job: str = ""
    progress: Mapping[str, Any] = field(default_factory=dict)
    log: Path | None = None
    tail: str = ""


OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class Result:
    """How a stage ended. ``reused`` when this run had no work with it; ``unfinished`` when the run was interrupted."""

    stage: Stage
    state: State
    reason: str = ""
    reused: bool = False
    log: Path | None = None


@dataclass(frozen=True)
class Report:
    """How a run ended: the result of each stage by id, in the order given; the number of the signal that ended it."""

    results: Mapping[str, Result]
    interrupted: int = 0

    @property
    def complete(self) -> bool:
        """Whether every stage has a result, diverged ones included."""
        return all(result.state in ("done", "diverged") for result in self.results.values())

    def in_state(self, *states: State) -> list[Result]:
        """The results in the given states."""
        return [result for result in self.results.values() if result.state in states]


def ignore(event: Event) -> None:
    """The callback of whoever does not want to be told."""
