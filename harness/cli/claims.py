"""``harness claims``: what the literature says, what we measured, and whether the two agree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.analysis import ClaimResult, make_table
from harness.analysis.claims.agreement import Summary, literature_conflicts
from harness.analysis.claims.results import claim_results
from harness.cli.planning import indexing
from harness.cli.writing import write_out
from harness.errors import HarnessError, SpecError
from harness.plan.data import DataSource
from harness.report.claims import Block, claim_blocks, markdown, summary_blocks
from harness.report.sources import open_sweep, sweep_names

SUFFIXES = {".json": "json", ".md": "markdown"}


def show(source: str, overrides: Sequence[str], results: Path, formats: Sequence[str], out: Path | None) -> int:
    """Prints the claims of a sweep, or with an empty ``source`` a summary over all; or writes it to ``out``."""
    if len(formats) > 1:
        raise SpecError(f"--{formats[0]} and --{formats[1]} exclude each other", "Choose one.")
    form = formats[0] if formats else ""
    if out is not None:
        form = form or SUFFIXES.get(out.suffix, "")
        if not form:
            raise SpecError(f"{out}: the name does not say which format", "End it in .md or .json.")
        if out.is_dir():
            raise SpecError(f"{out} is a folder", "Name a file.")
    title, blocks, value = _of_sweep(source, overrides, results) if source else _of_all(results)
    if form:
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n" if form == "json" else markdown(title, blocks)
    if out is not None:
        write_out(out, text)
    elif form:
        print(text, end="")
    else:
        from harness.cli.console import show as show_rich
        from harness.report.claims import render

        show_rich(render(blocks))
    return 0


def _of_sweep(source: str, overrides: Sequence[str], results: Path) -> tuple[str, list[Block], dict[str, Any]]:
    sweep, store = open_sweep(source, overrides, results, DataSource(progress=indexing))
    found = claim_results(make_table(sweep, store))
    if not found:
        raise HarnessError(
            f"the sweep {sweep.name} makes no claims", "Bind some to its contrasts: `claims:` in the sweep file."
        )
    conflicts = literature_conflicts([(sweep.name, each) for each in found if each.is_tested])
    value = {
        "name": sweep.name,
        "claims": [each.to_json() for each in found],
        "literature_conflicts": [conflict.to_json() for conflict in conflicts],
    }
    return f"{sweep.name}: claims of the literature", claim_blocks(found), value


def _of_all(results: Path) -> tuple[str, list[Block], dict[str, Any]]:
    """One sweep that cannot be read is named, and does not hide the others."""
    found: dict[str, tuple[ClaimResult, ...]] = {}
    unread: dict[str, str] = {}
    confidence = []
    for name in sweep_names(results):
        try:
            sweep, store = open_sweep(name, (), results)
            found[name] = claim_results(make_table(sweep, store))
            confidence.append(sweep.confidence)
        except HarnessError as error:
            unread[name] = str(error)
    if not found and not unread:
        raise HarnessError(f"no sweep was run in {results}", "Run one, or name another folder with --results.")
    summary = Summary(found, unread, max(confidence, default=0.95))
    return "Claims of the literature", summary_blocks(summary), summary.to_json()
