"""What a run wanted, written down for whoever goes on with it when nobody waits: its stages and their wishes."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from harness.errors import HarnessError
from harness.launch.budget import NO_LIMIT, Budget, Ledger, budget_of
from harness.launch.slurm.resources import Resources
from harness.store import Stage, Store
from harness.store.atomic import write_chunks
from harness.store.batches import Batches


@dataclass(frozen=True)
class WantedRun:
    """Stages in the order given, what the job of each asks for, and how they are computed.

    ``title`` is part of the name that the queue shows, ``threads`` are those of each job's arithmetic, ``registry`` is
    another table of executors; ``code`` is the folder with the snapshot that jobs import from, where they do
    (``snapshot``); ``budget`` what all attempts at these stages may spend together. ``cancelled`` are the ids of stages
    that nobody but the user takes up again.
    """

    title: str
    stages: Sequence[Stage]
    wishes: Sequence[Resources]
    threads: int = 1
    registry: Path | None = None
    code: Path | None = None
    budget: Budget = NO_LIMIT
    cancelled: frozenset[str] = frozenset()

    def ledger(self, store: Store) -> Ledger:
        """What the stages have spent of the budget."""
        gpus = {stage.id: wish.all_gpus for stage, wish in zip(self.stages, self.wishes, strict=True)}
        return Ledger(store, self.stages, gpus, self.budget)

    def save(self, store: Store) -> Path:
        """Writes the run down, in the place of an earlier one of the same title, and returns the file."""
        path = Batches(store.root).run_file(self.title)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o700)  # it holds shell lines, which jobs of this user will run
        distinct = list(dict.fromkeys(self.wishes))
        position = {wish: number for number, wish in enumerate(distinct)}
        head = {
            "title": self.title,
            "threads": self.threads,
            "registry": str(self.registry) if self.registry else "",
            "code": str(self.code) if self.code else "",
            "budget": self.budget.limits,
            "cancelled": sorted(self.cancelled),
            "wishes": [wish.to_json() for wish in distinct],
        }
        rest = (
            {"wish": position[wish], "stage": stage.to_json()}
            for stage, wish in zip(self.stages, self.wishes, strict=True)
        )
        # A line each: thousands of stages are never in memory as text.
        write_chunks(path, (json.dumps(each, separators=(",", ":")).encode() + b"\n" for each in chain([head], rest)))
        return path

    @classmethod
    def cancel(cls, store: Store, title: str, stage_ids: Collection[str]) -> int:
        """Marks stages as cancelled in the record of a run and returns how many are not.

        A record that cannot be read, of an older version say, goes: nobody could go on from it.
        """
        path = Batches(store.root).run_file(title)
        if not path.exists():
            return 0
        try:
            run = cls.load(path)
        except HarnessError:
            path.unlink(missing_ok=True)
            return 0
        run = replace(run, cancelled=run.cancelled.union(stage_ids))
        run.save(store)
        return sum(stage.id not in run.cancelled for stage in run.stages)

    @staticmethod
    def cancelled_in(path: Path) -> frozenset[str]:
        """The ids of stages that are cancelled by now in the record of a run; no more of it is read."""
        with contextlib.suppress(OSError, ValueError, AttributeError, TypeError), open(path, "rb") as lines:
            return frozenset(json.loads(next(lines, b"{}")).get("cancelled", ()))
        return frozenset()

    @classmethod
    def load(cls, path: Path) -> WantedRun:
        """Reads what ``save`` wrote. Raises ``HarnessError`` for anything else, and for what somebody else wrote."""
        try:
            with open(path, "rb") as lines:
                if os.fstat(lines.fileno()).st_uid != os.getuid():
                    raise ValueError("it belongs to another user")
                head = json.loads(next(lines))
                wishes = [Resources.from_json(wish) for wish in head["wishes"]]
                entries = [(Stage.from_json(entry["stage"]), wishes[entry["wish"]]) for entry in map(json.loads, lines)]
            return cls(
                head["title"],
                [stage for stage, _ in entries],
                [wish for _, wish in entries],
                head["threads"],
                Path(head["registry"]) if head["registry"] else None,
                Path(head["code"]) if head["code"] else None,
                budget_of(head["budget"]),
                frozenset(head.get("cancelled", ())),
            )
        except (OSError, StopIteration, ValueError, KeyError, TypeError, IndexError) as error:
            raise HarnessError(f"{path} is not the record of a run ({error}).", "Give `harness run` again.") from error
