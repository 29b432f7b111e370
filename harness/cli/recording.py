"""The record that a run leaves of its sweep, from which ``harness table NAME`` and ``harness status NAME`` know it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from harness.errors import HarnessError
from harness.launch.events import Event
from harness.plan import sweeps


class SweepRecord:
    """Written once, as soon as there is work that it tells of.

    A run that cannot begin, without a Slurm controller say, leaves the record of the last one as it is, and so its
    table.
    """

    def __init__(self, results: Path, name: str, value: Mapping[str, Any]) -> None:
        self._results = results
        self._name = name
        self._value = value
        self._saved = False

    def save(self) -> None:
        """Writes the record, unless it has been written. Raises ``HarnessError`` when that is not possible."""
        if self._saved:
            return
        with _writing(self._results):
            sweeps.save(self._results, self._name, self._value)
        self._saved = True

    def hear(self, event: Event) -> None:
        """Saves when a stage is submitted or begins; what was done already is no sign that the rest can."""
        if event.kind not in ("reused", "blocked"):
            self.save()


def require_writable(results: Path) -> None:
    """Raises ``HarnessError`` for a results folder that nothing can be written to; makes the folder."""
    with _writing(results):
        results.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=results):
            pass


@contextmanager
def _writing(results: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HarnessError(
            f"{results} cannot be written: {error.strerror}", "Choose another folder with --results."
        ) from error
