"""``harness doctor --cluster NAME``: what a Slurm cluster is like, and what that means for a sweep."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from harness.cli.entry import ERROR
from harness.report.layout import columns
from harness.spec.cluster_checks import cluster_of_profile


def examine(name: str, results: Path, probe_seconds: float, as_json: bool) -> int:
    """Prints all checks; the exit code is 1 when sweeps will not work. No seconds: no job is submitted."""
    from harness.launch.slurm.inspection import inspect
    from harness.launch.slurm.probe import probe
    from harness.launch.slurm.wishes import resources

    section = cluster_of_profile(name)
    wish = resources(section)
    checks = inspect(wish, {kind: resources(section.of(kind)) for kind in section.stages})
    if probe_seconds > 0 and all(check.what != "Slurm" or check.state != "fails" for check in checks):
        checks += probe(results, wish, probe_seconds)
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2, ensure_ascii=False))
    else:
        print("\n".join(columns([(check.state, check.what, check.found, check.means) for check in checks])))
    return ERROR if any(check.state == "fails" for check in checks) else 0
