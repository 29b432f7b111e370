"""Keys of the splitting of images that a user set and that no variant reads, its kind being another: a mistake."""

from __future__ import annotations

from collections.abc import Sequence

from harness.spec.compose import Composition
from harness.spec.factors import Factor
from harness.spec.place import Path
from harness.spec.report import Report
from harness.spec.schema.config import Config
from harness.spec.schema.splitting import READERS, SplittingConfig
from harness.spec.user_keys import set_by_user


class SplittingKeys:
    """Which keys of a ``splitting`` the user set, less those that some variant reads: a level may choose a kind that
    does not read what the file sets for others.
    """

    def __init__(self, composition: Composition, factors: Sequence[Factor]) -> None:
        phases = composition.tree.get("phases")
        named = tuple(phases) if isinstance(phases, dict) else ()
        sections: list[Path] = [("training",), ("evaluation",), *(("phases", name) for name in named)]
        self._places = set_by_user(composition, factors, [(*s, "splitting", key) for s in sections for key in READERS])
        self._noted = False

    def note(self, config: Config) -> None:
        """A variant has these splittings. What ``training`` says holds for every phase."""
        self._noted = True
        if not self._places:
            return
        self._drop(("evaluation",), config.evaluation.splitting)
        for name, phase in config.phases.items():
            self._drop(("training",), phase.splitting)
            self._drop(("phases", name), phase.splitting)

    def _drop(self, section: Path, splitting: SplittingConfig) -> None:
        for key, kinds in READERS.items():
            if splitting.kind in kinds:
                self._places.pop((*section, "splitting", key), None)

    def check(self, report: Report) -> None:
        """Report the keys that no variant reads."""
        if not self._noted:
            return
        for path, place in self._places.items():
            readers = " or ".join(READERS[str(path[-1])])
            message = "no variant reads this key: its images are not split that way"
            report.add(message, place, path, f"remove it; {path[-1]} is read where the kind of splitting is {readers}")
