"""``harness failures``: what went wrong in a sweep, grouped by what went wrong, with what to do about it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.cli.entry import INCOMPLETE
from harness.cli.selection import select
from harness.launch.slurm.nodes import left_out
from harness.launch.status import StageStatus, status
from harness.report.quantities import count
from harness.report.sources import open_sweep
from harness.store import Store

SHOWN = 3

# What the words of a reason mean for the user; the first that occurs.
REMEDIES: Sequence[tuple[str, str]] = (
    ("even one sample at a time", "more memory (`cluster.memory_gb`, another GPU) or `runtime.gradient_checkpointing`"),
    ("out of memory", "nothing: the next `harness run` halves the batches; or raise `cluster.memory_gb`"),
    ("no space left", "free space on the disk of the results folder, then `harness run` again"),
    ("is full", "free space on the disk of the results folder, then `harness run` again"),
    ("time limit", "raise `cluster.time_minutes`; the next `harness run` resumes at the last checkpoint"),
    ("timeout", "raise `cluster.time_minutes`; the next `harness run` resumes at the last checkpoint"),
    ("preempted", "`harness run` again; it resumes at the last checkpoint"),
    ("node fail", "`harness run` again; it resumes at the last checkpoint"),
    ("gone from the queue", "`harness run` again; it resumes at the last checkpoint"),
    ("killed by", "the end of the log; if the kernel did it for want of memory, raise `cluster.memory_gb`"),
    ("cancelled", "`harness run` again; it resumes at the last checkpoint"),
    ("damaged", "`harness run --repair` sets it aside and computes it again"),
)
UNKNOWN = "the log says more: `harness logs ID`"


def show(name: str, conditions: Sequence[str], results: Path, as_json: bool) -> int:
    """Prints the groups; the exit code says whether there are any."""
    sweep, store = open_sweep(name, (), results)
    runs = select(sweep, conditions) if conditions else list(sweep.runs)
    ids = dict.fromkeys(stage_id for run in runs for stage_id in run.stages)
    found = status(store, [sweep.stages[stage_id] for stage_id in ids])
    groups = grouped(found)
    if as_json:
        print(json.dumps(to_json(groups), indent=2, ensure_ascii=False))
    else:
        blocked = sum(each.state == "blocked" for each in found.values())
        print(text(sweep.name, groups, blocked, store))
        for why in left_out(store, found.keys()):
            print(why)
    return INCOMPLETE if groups else 0


def grouped(found: Mapping[str, StageStatus]) -> dict[str, list[StageStatus]]:
    """Failed and lost stages by signature, the most frequent first."""
    groups: dict[str, list[StageStatus]] = {}
    for each in found.values():
        if each.state in ("failed", "lost", "diverged"):
            groups.setdefault(signature(each), []).append(each)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def signature(each: StageStatus) -> str:
    """The reason without what differs from stage to stage: numbers, paths, ids."""
    reason = each.reason.splitlines()[0] if each.reason else each.state
    for pattern, name in ((r"\S*/\S+", "PATH"), (r"\b[0-9a-f]{12,}\b", "ID"), (r"\d[\d_.,]*", "N")):
        reason = re.sub(pattern, name, reason)
    return f"{each.state}: {reason}" if each.reason else each.state


def remedy(each: StageStatus) -> str:
    """What to do about it."""
    if each.state == "diverged":
        return "a lower learning rate; the run's numbers are kept as they are"
    reason = each.reason.lower()
    return next((words for sign, words in REMEDIES if sign in reason), UNKNOWN)


def to_json(groups: Mapping[str, Sequence[StageStatus]]) -> list[dict[str, Any]]:
    """The groups as JSON values."""
    return [
        {"signature": name, "remedy": remedy(group[0]), "stages": [each.to_json() for each in group]}
        for name, group in groups.items()
    ]


def text(name: str, groups: Mapping[str, Sequence[StageStatus]], blocked: int, store: Store) -> str:
    """The groups for people."""
    if not groups:
        return f"{name}: nothing has failed"
    lines = []
    for group in groups.values():
        first = group[0]
        lines.append(
            f"{count(len(group), 'stage')} {first.state}: {first.reason.splitlines()[0] if first.reason else ''}"
        )
        for each in group[:SHOWN]:
            tried = f", {count(each.attempts, 'attempt')}" if each.attempts else ""
            lines.append(f"    {each.stage}{tried}: {store.path(each.stage) / 'log.txt'}")
        if len(group) > SHOWN:
            lines.append(f"    and {len(group) - SHOWN} more (--json has all)")
        lines.append(f"  → {remedy(first)}")
    if blocked:
        lines.append(f"{count(blocked, 'stage')} behind them cannot run")
    return "\n".join(lines)
