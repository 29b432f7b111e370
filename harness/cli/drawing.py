"""``harness figures``: the figures of a sweep as files."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from harness.analysis import make_table
from harness.cli.planning import indexing
from harness.errors import HarnessError, SpecError
from harness.plan import sweeps
from harness.plan.data import DataSource
from harness.report.figures import FIGURES, FOLDER, write
from harness.report.sources import open_sweep


def draw(source: str, overrides: Sequence[str], results: Path, only: str, out: Path | None) -> int:
    """Writes the figures that are asked for, all that fit the sweep by default, and says where they are."""
    chosen = _chosen(only)
    if out is not None and out.exists() and not out.is_dir():
        raise SpecError(f"{out} is not a folder", "Name a folder.")
    sweep, store = open_sweep(source, overrides, results, DataSource(progress=indexing))
    table = make_table(sweep, store)
    unfit = {name: reason for name in chosen or FIGURES if (reason := FIGURES[name].unfit(table))}
    for name in chosen:
        if name in unfit:
            raise HarnessError(f"{name} shows nothing of {sweep.name}: {unfit[name]}", "Leave it out of --only.")
    folder = out if out is not None else sweeps.sweep_folder(results, sweep.name) / FOLDER
    try:
        written = write(table, store, folder, chosen or tuple(FIGURES))
    except OSError as error:
        raise HarnessError(f"{folder} cannot be written: {error.strerror}", "Name another with --out.") from error
    for path in written:
        print(path)
    for name, reason in unfit.items():
        print(f"not drawn: {name}, {reason}")
    return 0


def _chosen(only: str) -> tuple[str, ...]:
    """Names in the order in which they are asked for. Raises ``SpecError`` for one that is none."""
    names = tuple(dict.fromkeys(name.strip() for name in only.split(",") if name.strip()))
    for name in names:
        if name not in FIGURES:
            near = get_close_matches(name, FIGURES, 1)
            remedy = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(FIGURES)}."
            raise SpecError(f"--only {name}: there is no such figure", remedy)
    return names
