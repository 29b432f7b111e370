"""``harness table``: the table of a sweep in every form."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.analysis import Table, make_table
from harness.cli.collector import paused
from harness.cli.indexing import indexing
from harness.cli.writing import write_out
from harness.errors import SpecError
from harness.report.json_text import indented
from harness.report.sources import is_file, open_sweep
from harness.store import Store

if TYPE_CHECKING:
    from harness.report.sheet import Beside

FORMATS = ("json", "csv", "markdown", "latex")
SUFFIXES = {".json": "json", ".csv": "csv", ".md": "markdown", ".tex": "latex"}


@dataclass(frozen=True)
class Wanted:
    """What stands in the table besides: imports by name, ``PAPER:TABLE``, the other averages, bootstrap intervals."""

    imported: Sequence[str] = ()
    published: Sequence[str] = ()
    averages: bool = False
    bootstrap: bool = False


def show(
    source: str,
    overrides: Sequence[str],
    results: Path,
    formats: Sequence[str],
    out: Path | None,
    wanted: Wanted | None = None,
) -> int:
    """Prints the table, or writes it to ``out``."""
    if len(formats) > 1:
        raise SpecError(f"--{formats[0]} and --{formats[1]} exclude each other", "Choose one.")
    form = formats[0] if formats else ""
    if out is not None:
        form = form or SUFFIXES.get(out.suffix, "")
        if not form:
            raise SpecError(f"{out}: the name does not say which format", "End it in .md, .tex, .csv or .json.")
        if out.is_dir():
            raise SpecError(f"{out} is a folder", "Name a file.")
    wanted = wanted or Wanted()
    if wanted.bootstrap and form != "json":
        raise SpecError("--bootstrap goes with JSON", "Write --json --bootstrap; the tables show t intervals.")
    with paused():
        _print(source, overrides, results, form, out, wanted)
    return 0


def _print(source: str, overrides: Sequence[str], results: Path, form: str, out: Path | None, wanted: Wanted) -> None:
    data = None
    if is_file(source):
        from harness.plan.data import DataSource

        data = DataSource(progress=indexing)
    sweep, store = open_sweep(source, overrides, results, data)
    table = make_table(sweep, store)
    beside = _beside(table, wanted, results)
    if out is not None:
        write_out(out, text(table, form, beside, wanted.bootstrap))
    elif form:
        print(text(table, form, beside, wanted.bootstrap), end="")
    else:
        from harness.cli.console import show as show_rich
        from harness.report.terminal import render

        show_rich(render(table, beside=beside))
    if not is_file(source) and not table.is_complete:
        _hint(table, store)


def _hint(table: Table, store: Store) -> None:
    """Says on standard error that finished results lie beside those of the record, and how to see them."""
    from harness.analysis.stored.unnamed import unnamed_seeds

    seeds = unnamed_seeds(table.sweep, store)
    if seeds:
        print(
            f"note: this is the record of the last run, of the seeds {_list(table.sweep.seeds)}; {store.root} also"
            f" holds finished evaluations of the seeds {_list(seeds)}: harness table FILE seeds=[{_list(seeds)}]",
            file=sys.stderr,
        )


def _list(seeds: Sequence[int]) -> str:
    return ",".join(map(str, seeds))


def text(table: Table, form: str, beside: Beside | None = None, bootstrap: bool = False) -> str:
    """The table as ``json`` (with ``bootstrap`` intervals too), ``csv``, ``markdown`` or ``latex``."""
    from harness.report.sheet import NOTHING_BESIDE

    beside = beside or NOTHING_BESIDE
    if form == "json":
        from harness.analysis.document import to_json

        value = {
            **to_json(table, bootstrap),
            "imported": [row.to_json() for row in beside.imported],
            "published": [row.to_json() for row in beside.published],
        }
        return indented(value) + "\n"
    if form == "csv":
        from harness.report.spreadsheet import csv_text

        return csv_text(table, beside)
    if form == "latex":
        from harness.report.latex import latex

        return latex(table, beside)
    from harness.report.table import markdown

    return markdown(table, beside)


def _beside(table: Table, wanted: Wanted, results: Path) -> Beside:
    from harness.analysis.tables.imported import imported_rows, read_imported
    from harness.analysis.tables.published import published_rows
    from harness.report.sheet import Beside

    names = list(dict.fromkeys(wanted.imported))
    models = [read_imported(results, name) for name in names]
    return Beside(
        imported_rows(table, models) if models else (),
        published_rows(wanted.published, table.sweep.tasks) if wanted.published else (),
        wanted.averages,
    )
