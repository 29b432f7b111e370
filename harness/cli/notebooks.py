"""``harness notebook``: the overview of a sweep as an executed notebook."""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import SpecError
from harness.report.notebooks import FOLDER, render
from harness.report.sources import is_file, open_sweep


def write(source: str, results: Path, out: Path | None) -> int:
    """Renders the notebook and says where it lies."""
    sweep, _ = open_sweep(source, results=results)
    target = out or results / "sweeps" / sweep.name / "overview.ipynb"
    if target.suffix != ".ipynb":
        raise SpecError(f"{target}: a notebook's name ends in .ipynb")
    # Relative to where notebooks run, so that a rendered one does not carry this machine's paths.
    name = os.path.relpath(source, FOLDER) if is_file(source) else source
    render(FOLDER / "overview.py", {"SWEEP": name, "RESULTS": os.path.relpath(results, FOLDER)}, target)
    print(target)
    return 0
