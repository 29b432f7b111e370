"""Models that were evaluated elsewhere, kept below the results as files of scores like those of evaluate stages.

``imported/NAME/TASK.parquet`` beside ``import.json``, which is written last: a folder without it is no import.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError, SpecError
from harness.evaluate.records import to_parquet
from harness.evaluate.sample_logs import SampleLog, read_log
from harness.spec.names import NAME_PATTERN
from harness.store import write_bytes, write_json

FOLDER = "imported"
FILE = "import.json"
FORMAT = 1


def import_folder(results: Path, name: str) -> Path:
    """The folder of an import. Raises ``SpecError`` for a name that would lead elsewhere."""
    if ".." in name or not re.fullmatch(NAME_PATTERN, name):
        raise SpecError(f"{name!r} is not a name for an import", "Use letters, digits and . _ + -")
    return results / FOLDER / name


def import_logs(paths: Sequence[Path], name: str, results: Path) -> tuple[Path, tuple[SampleLog, ...]]:
    """Reads the logs of one model, one a task, and keeps them under a name; again is no harm.

    Raises ``HarnessError`` for logs that do not hold (see ``read_log``), for two of one task, and for a name under
    which something else is kept.
    """
    folder = import_folder(results, name)
    logs: dict[str, SampleLog] = {}
    for path in paths:
        log = read_log(path)
        if log.task in logs:
            raise HarnessError(
                f"{path} and {logs[log.task].path} are both of {log.task}", "Import the logs of one model, one a task."
            )
        logs[log.task] = log
    files = {log.task: to_parquet(log.records) for log in logs.values()}
    tasks = {
        log.task: {
            "metric": log.metric,
            "metric_version": log.metric_version,
            "samples": len(log.records),
            "sha256": hashlib.sha256(files[log.task]).hexdigest(),
        }
        for log in logs.values()
    }
    record = {"format": FORMAT, "name": name, "tasks": dict(sorted(tasks.items()))}
    # Without a record an import was killed before its end, and nothing there counts.
    if (folder / FILE).exists() and _stored(folder) != record:
        raise HarnessError(f"{folder} holds another import already", "Choose another --name, or remove that folder.")
    folder.mkdir(parents=True, exist_ok=True)
    for task, content in files.items():
        write_bytes(folder / f"{task}.parquet", content)
    write_json(folder / FILE, record)
    return folder, tuple(logs.values())


def _stored(folder: Path) -> object:
    """The record of an import; ``{}`` when it cannot be read."""
    try:
        return json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return {}
