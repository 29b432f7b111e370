"""``harness compare`` and ``harness import``: models against each other, also such that were evaluated elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError


def compare(first: str, second: str, sweep: str, overrides: Sequence[str], results: Path, as_json: bool) -> int:
    """Prints the second against the first."""
    from harness.analysis.tables.comparison import compare as compare_sides
    from harness.report.sides import find_sides

    (one, two), rules = find_sides((first, second), sweep, overrides, results)
    if one.label == two.label and one.files == two.files:
        raise HarnessError(f"{first} and {second} are the same: {one.label}", "Name two different ones.")
    found = compare_sides(one, two, rules)
    if as_json:
        print(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
    else:
        from harness.cli.console import show
        from harness.report.comparison import render

        show(render(found))
    return 0


def import_logs(paths: Sequence[Path], name: str, results: Path, as_json: bool) -> int:
    """Keeps logs under a name and says what is in them."""
    from harness.evaluate.imports import import_logs as keep
    from harness.evaluate.scoring import mean

    folder, logs = keep(paths, name, results)
    means = {log.task: mean([record.score for record in log.records]) for log in logs}
    if as_json:
        tasks = {
            log.task: {"metric": log.metric, "samples": len(log.records), "mean": round(means[log.task], 6)}
            for log in logs
        }
        print(json.dumps({"name": name, "folder": str(folder), "tasks": tasks}, indent=2))
        return 0
    for log in logs:
        print(f"{log.task}: {means[log.task]:.1f} points over {len(log.records)} samples ({log.metric_version})")
    print(f"kept in {folder}\n→ beside a sweep: harness table NAME --with {name}")
    return 0
