"""``harness export``: a sweep's results in a folder of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.errors import SpecError
from harness.plan import sweeps
from harness.plan.preparations import PREPARATIONS
from harness.report.quantities import count
from harness.report.sources import open_sweep
from harness.store import Store
from harness.store.export import export

KEPT = (".parquet", ".json")
"""Scores, telemetry, audits, summaries: what tables, figures and claims are made from."""

WEIGHTS = ("model/", "snapshots/")


def run(source: str, results: Path, out: Path) -> int:
    """Copies what the sweep's tables, figures and claims are made from to ``out``."""
    if out.resolve() == results.resolve():
        raise SpecError(f"{out} is the results folder itself", "Name another folder with --out.")
    open_sweep(source, (), results)  # refuses what is damaged
    value = sweeps.read(sweeps.sweep_folder(results, source) / sweeps.FILE)
    ids = [str(stage["id"]) for stage in value["stages"] if stage["kind"] not in PREPARATIONS]
    copied = export(Store(results), ids, out, lambda name: name.endswith(KEPT) and not name.startswith(WEIGHTS))
    value["stages"] = [{**stage, "location": {}} for stage in value["stages"]]
    sweeps.save(out, source, value)
    size = sum(path.stat().st_size for path in _files(out))
    print(f"{count(len(copied), 'stage')} copied to {out} ({size / 1e6:.1f} MB)")
    print(f"harness table {source} --results {out}")
    return 0


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
