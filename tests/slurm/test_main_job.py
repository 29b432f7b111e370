"""The main job on a real Slurm, with real training and evaluation: what it computes although workers and nodes die."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.main_job import SWEEP, finished_attempts, harness, score_files, start
from tests.slurm.slurm_cluster import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]


def attempts(results: Path, kind: str) -> list[dict]:
    """The attempts of all stages of a kind that are running now."""
    found = []
    for path in results.glob(f"stages/{kind}/*/attempts/*.json"):
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            content = json.loads(path.read_text())
            if content["state"] == "running":
                found.append(content)
    return found


def wait_for(process: subprocess.Popen[str], find: Callable[[], list[dict]], seconds: float = 120) -> dict:
    """The first of what is found while the process runs."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        for content in find():
            return content
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"not found: {process.communicate()}")


def node_of(cluster: Cluster, job: str) -> str:
    return cluster.command("squeue", "--noheader", f"--job={job}", "--format=%N").stdout.strip()


def test_a_killed_worker_and_a_lost_node_change_no_bit(cluster: Cluster, tmp_path: Path) -> None:
    cache, here, there = (tmp_path / name for name in ("cache", "local", "slurm"))
    sweep = tmp_path / "smoke.yaml"
    sweep.write_text(SWEEP)
    harness(cache, "run", sweep, "--results", here)

    process = start(cache, "run", sweep, "--results", there, "--cluster", "slurm", "--wait")
    victim = wait_for(process, lambda: attempts(there, "train"))
    os.kill(victim["owner"]["pid"], signal.SIGKILL)
    on_a_node = wait_for(
        process, lambda: [each for each in attempts(there, "evaluate") if node_of(cluster, each["job"])]
    )
    cluster.kill_node(node_of(cluster, on_a_node["job"]))
    out, err = process.communicate(timeout=400)

    assert process.returncode == 0, err[-3000:] + out[-1000:]
    assert score_files(there) == score_files(here)
    assert len(score_files(there)) == 8
    assert set(finished_attempts(there).values()) == {1}
    again = [path for path in there.glob("stages/*/*/attempts/*.json") if json.loads(path.read_text())["number"] > 1]
    assert len(again) >= 2  # both kills hit something that ran
    tables = [harness(cache, "table", "smoke", "--results", results, "--json") for results in (here, there)]
    scores = [[(row["variant"], row["scores"]) for row in json.loads(text)["rows"]] for text in tables]
    assert scores[0] == scores[1]


def test_two_drivers_started_together_do_the_work_once(cluster: Cluster, tmp_path: Path) -> None:
    cache, results, sweep = tmp_path / "cache", tmp_path / "results", tmp_path / "smoke.yaml"
    sweep.write_text(SWEEP)
    harness(cache, "data", "prepare", sweep, "--results", results)
    both = [start(cache, "run", sweep, "--results", results, "--cluster", "slurm", "--wait") for _ in range(2)]
    for driver in both:
        out, err = driver.communicate(timeout=400)
        assert driver.returncode == 0, err[-3000:] + out[-1000:]
    assert len(score_files(results)) == 8
    numbers = [json.loads(path.read_text())["number"] for path in results.glob("stages/*/*/attempts/*.json")]
    assert numbers == [1] * len(list(results.glob("stages/*/*")))
    tasks = [list(json.loads(path.read_text())["tasks"].values()) for path in results.glob("batches/*/batch.json")]
    given = [stage for batch in tasks for stage in batch]
    assert len(given) == len(set(given)) == len(numbers)
