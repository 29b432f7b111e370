"""What a run wanted, written down for whoever goes on with it when nobody waits: its stages and their wishes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.launch.slurm.resources import Resources
from harness.store import Stage, Store, write_json
from harness.store.batches import Batches


@dataclass(frozen=True)
class WantedRun:
    """Stages in the order given, what the job of each asks for, and how they are computed."""

    title: str
    stages: Sequence[Stage]
    wishes: Sequence[Resources]
    threads: int
    registry: Path | None = None

    def save(self, store: Store) -> Path:
        """Writes the run down, in the place of an earlier one of the same title, and returns the file."""
        path = Batches(store.root).run_file(self.title)
        path.parent.mkdir(parents=True, exist_ok=True)
        distinct = list(dict.fromkeys(self.wishes))
        content = {
            "title": self.title,
            "threads": self.threads,
            "registry": str(self.registry) if self.registry else "",
            "wishes": [wish.to_json() for wish in distinct],
            "stages": [
                {"wish": distinct.index(wish), "stage": stage.to_json()}
                for stage, wish in zip(self.stages, self.wishes, strict=True)
            ],
        }
        write_json(path, content)
        return path

    @classmethod
    def load(cls, path: Path) -> WantedRun:
        """Reads what ``save`` wrote. Raises ``HarnessError`` for anything else."""
        try:
            value = json.loads(path.read_bytes())
            wishes = [Resources.from_json(wish) for wish in value["wishes"]]
            return cls(
                value["title"],
                [Stage.from_json(entry["stage"]) for entry in value["stages"]],
                [wishes[entry["wish"]] for entry in value["stages"]],
                value["threads"],
                Path(value["registry"]) if value["registry"] else None,
            )
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise HarnessError(f"{path} is not the record of a run ({error}).", "Give `harness run` again.") from error
