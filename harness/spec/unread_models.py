"""Models of experts that a user named and that no variant reads, since none has such an expert: a mistake."""

from __future__ import annotations

from collections.abc import Sequence

from harness.spec.compose import Composition
from harness.spec.designs import Combination
from harness.spec.experts import COMPUTED
from harness.spec.factors import Factor
from harness.spec.place import Path
from harness.spec.report import Report
from harness.spec.schema.model import ExpertsConfig
from harness.spec.user_keys import set_by_user

_PREFIX: Path = ("model", "experts", "models")


class ExpertModelKeys:
    """Which keys of ``model.experts.models`` the user set, in the file or in a level, less those that some variant
    reads: a level may take the experts away that a file names models for.
    """

    section = "experts"

    def __init__(self, composition: Composition, factors: Sequence[Factor]) -> None:
        self._places = set_by_user(composition, factors, [(*_PREFIX, kind) for kind in COMPUTED])
        self._noted = False

    def note(self, config: ExpertsConfig, _: Combination) -> None:
        """A variant has these experts."""
        self._noted = True
        for kind in config.kinds:
            self._places.pop((*_PREFIX, kind), None)

    def check(self, report: Report) -> None:
        """Report the models that no variant reads."""
        if not self._noted:
            return
        for path, place in self._places.items():
            message = f"no variant reads this key: none has the expert {path[-1]}"
            report.add(message, place, path, f"remove it, or add {path[-1]} to model.experts.kinds")
