"""The harness as a command in a process of its own, on a sweep of seconds; what a test looks at afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SWEEP = """\
name: smoke
question: Does everything run?
recipe: idefics2
scale: smoke
factors:
  tokens: {key: model.connector.num_tokens, levels: [4, 9]}
baseline: {tokens: 9}
seeds: [0]
"""


def start(cache: Path, *arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def harness(cache: Path, *arguments: object, code: int = 0) -> str:
    process = start(cache, *arguments)
    out, err = process.communicate(timeout=280)
    assert process.returncode == code, err[-3000:] + out[-1000:]
    assert "Traceback" not in err
    return out


def score_files(results: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in results.glob("stages/evaluate/*/scores.parquet")}


def finished_attempts(results: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for path in results.glob("stages/*/*/attempts/*.json"):
        name = path.parent.parent.name
        counts[name] = counts.get(name, 0) + (json.loads(path.read_text())["state"] == "finished")
    return counts
