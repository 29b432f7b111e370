"""From what a user names, a sweep that was run or a sweep file, to what tables are made from."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from harness.analysis import SavedSweep
from harness.analysis.stored.excerpts import read_sweep
from harness.errors import HarnessError, SpecError
from harness.plan import sweeps
from harness.store import Store

if TYPE_CHECKING:
    from harness.plan.data import DataSource


def open_sweep(
    source: str, overrides: Sequence[str] = (), results: Path = Path("results"), data: DataSource | None = None
) -> tuple[SavedSweep, Store]:
    """The sweep and the store of its results. Raises ``SpecError`` for names that would leave the results folder."""
    if is_file(source):
        from harness.plan import build, measure
        from harness.spec import load

        plan = build(load(source, overrides), data=data)
        return SavedSweep.of(sweeps.to_json(plan, measure(plan)), source), Store(results)
    path = sweeps.sweep_folder(results, source) / sweeps.FILE
    if overrides:
        raise SpecError(
            f"{overrides[0]}: the sweep {source} was run already, its keys cannot be overridden",
            "Give the sweep file instead of the name.",
        )
    try:
        store = Store(results)
        return read_sweep(path, store.root), store
    except FileNotFoundError:
        raise _unknown(source, results) from None
    except (OSError, ValueError) as error:
        raise HarnessError(f"{path} is damaged: {error}", "Run the sweep again; finished stages are reused.") from error


def sweep_names(results: Path) -> list[str]:
    """The sweeps that were run below a results folder, by name."""
    return sorted(path.parent.name for path in (results / sweeps.FOLDER).glob(f"*/{sweeps.FILE}"))


def is_file(source: str) -> bool:
    """Whether a source names a sweep file rather than a sweep."""
    return source.endswith((".yaml", ".yml")) or Path(source).is_file()


def _unknown(name: str, results: Path) -> HarnessError:
    if not results.is_dir():
        return HarnessError(f"there is no results folder {results}", "Check --results; `harness run` makes the folder.")
    known = sweep_names(results)
    near = get_close_matches(name, known, 1)
    if near:
        return HarnessError(f"no sweep called {name} was run in {results}", f"Did you mean {near[0]}?")
    there = f"Run there: {', '.join(known)}." if known else "No sweep was run there yet."
    return HarnessError(f"no sweep called {name} was run in {results}", f"{there} A sweep file ends in .yaml.")
