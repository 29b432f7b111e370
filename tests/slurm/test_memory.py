"""Runs that are given too little memory, by a limit of the kernel on their processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.main_job import harness
from tests.slurm.slurm_cluster import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

SWEEP = """\
name: memory
question: Does a run that is too large finish?
recipe: idefics2
scale: smoke
factors:
  tokens: {key: model.connector.num_tokens, levels: [4, 9]}
baseline: {tokens: 9}
phases: {align: null, main: {steps: 2}}
training: {batch_size: 256, micro_batch_size: 256}
evaluation: {tasks: {vqav2: {samples: 16}, textvqa: null, okvqa: null, coco: null}}
cluster: {time_minutes: 30, memory_gb: 1, cpus: 2}
"""
KILOBYTES = 1_600_000
"""Of data a process may have. Torch and a model take half; 256 documents at once take more than the rest."""


def test_two_runs_out_of_memory_finish_with_smaller_batches(cluster: Cluster, tmp_path: Path) -> None:
    file, results = tmp_path / "memory.yaml", tmp_path / "results"
    file.write_text(SWEEP)
    limit = f"cluster.setup=[ulimit -d {KILOBYTES}]"
    harness(tmp_path / "cache", "run", file, limit, "--results", results, "--cluster", "slurm", "--wait")
    stages = list(results.glob("stages/train/*"))
    assert len(stages) == 2
    for stage in stages:
        summary = json.loads((stage / "done.json").read_text())["summary"]
        attempts = [json.loads(path.read_text()) for path in sorted(stage.glob("attempts/*.json"))]
        lacking = [attempt for attempt in attempts if attempt["out_of_memory"]]
        assert lacking, "the limit was no limit"
        assert summary["batch_halved"] == len(lacking)
        assert all("out of memory" in attempt["reason"] for attempt in lacking)
        assert summary["steps"] == 2
