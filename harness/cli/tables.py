"""``harness table``: the table of a sweep in every form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from harness.analysis import Table, make_table
from harness.cli.planning import indexing
from harness.errors import SpecError
from harness.plan.data import DataSource
from harness.report.sources import open_sweep

FORMATS = ("json", "csv", "markdown")
SUFFIXES = {".json": "json", ".csv": "csv", ".md": "markdown"}


def show(source: str, overrides: Sequence[str], results: Path, formats: Sequence[str], out: Path | None) -> int:
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
    sweep, store = open_sweep(source, overrides, results, DataSource(progress=indexing))
    table = make_table(sweep, store)
    if out is not None:
        from harness.store import write_bytes

        out.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(out, text(table, form).encode())
    elif form:
        print(text(table, form), end="")
    else:
        from harness.cli.console import show as show_rich
        from harness.report.terminal import render

        show_rich(render(table))
    return 0


def text(table: Table, form: str) -> str:
    """The table as ``json``, ``csv`` or ``markdown``."""
    from harness.report.table import csv_text, markdown

    if form == "json":
        return json.dumps(table.to_json(), indent=2, ensure_ascii=False) + "\n"
    return csv_text(table) if form == "csv" else markdown(table)
