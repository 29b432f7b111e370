"""``harness table``: the table of a sweep in every form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.analysis import Table, make_table
from harness.cli.planning import indexing
from harness.errors import SpecError
from harness.plan.data import DataSource
from harness.report.sources import open_sweep

FORMATS = ("json", "csv", "markdown")
SUFFIXES = {".json": "json", ".csv": "csv", ".md": "markdown"}


def show(
    source: str,
    overrides: Sequence[str],
    results: Path,
    formats: Sequence[str],
    out: Path | None,
    bootstrap: bool = False,
) -> int:
    """Prints the table, or writes it to ``out``."""
    if len(formats) > 1:
        raise SpecError(f"--{formats[0]} and --{formats[1]} exclude each other", "Choose one.")
    form = formats[0] if formats else ""
    if out is not None:
        form = form or SUFFIXES.get(out.suffix, "")
        if not form:
            raise SpecError(f"{out}: the name does not say which format", "End it in .md, .csv or .json.")
        if out.is_dir():
            raise SpecError(f"{out} is a folder", "Name a file.")
    if bootstrap and form != "json":
        raise SpecError("--bootstrap goes with JSON", "Write --json --bootstrap; the tables show t intervals.")
    sweep, store = open_sweep(source, overrides, results, DataSource(progress=indexing))
    table = make_table(sweep, store)
    if out is not None:
        from harness.store import write_bytes

        out.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(out, text(table, form, bootstrap).encode())
    elif form:
        print(text(table, form, bootstrap), end="")
    else:
        from harness.cli.console import show as show_rich
        from harness.report.terminal import render

        show_rich(render(table))
    return 0


def text(table: Table, form: str, bootstrap: bool = False) -> str:
    """The table as ``json`` (with ``bootstrap`` intervals too), ``csv`` or ``markdown``."""
    from harness.report.table import csv_text, markdown

    if form == "json":
        return json.dumps(_json(table, bootstrap), indent=2, ensure_ascii=False) + "\n"
    return csv_text(table) if form == "csv" else markdown(table)


def _json(table: Table, bootstrap: bool) -> dict[str, Any]:
    if bootstrap:
        from harness.analysis.bootstrap import with_bootstrap

        return with_bootstrap(table)
    return table.to_json()
