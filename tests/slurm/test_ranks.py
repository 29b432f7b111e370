"""Several tasks a job on a real Slurm: ranks on two nodes, and what becomes of a job that loses one of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harness.launch.slurm.queue import Queue
from harness.store.batches import Batches
from tests.main_job import harness, score_files, start
from tests.slurm.slurm_cluster import Cluster

pytestmark = pytest.mark.slurm

SWEEP = """\
name: ranks
question: Do several tasks train as one?
recipe: idefics2
scale: smoke
factors:
  tokens: {{key: model.connector.num_tokens, levels: [9]}}
baseline: {{tokens: 9}}
seeds: [0]
phases: {{align: {{steps: 2}}, main: {{steps: {steps}}}}}
runtime: {{checkpoint_seconds: 1}}
evaluation: {{tasks: {{vqav2: {{samples: 16}}, coco: {{samples: 16}}}}}}
cluster: {{time_minutes: 30, memory_gb: 1, cpus: 2}}
"""
TWO = ("runtime.ranks=2", "runtime.sharding=shard")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def sweep(folder: Path, steps: int) -> Path:
    file = folder / "ranks.yaml"
    file.write_text(SWEEP.format(steps=steps))
    return file


def losses(results: Path, phase: str) -> list[float]:
    (file,) = results.glob(f"stages/train/{phase}-*/telemetry.parquet")
    return [row["loss"] for row in pq.read_table(file).to_pylist()]


def summaries(results: Path, kind: str) -> list[dict[str, object]]:
    return [json.loads(path.read_bytes())["summary"] for path in results.glob(f"stages/{kind}/*/done.json")]


def test_tasks_on_two_nodes_give_what_one_process_gives(cluster: Cluster, tmp_path: Path, cache: Path) -> None:
    file = sweep(tmp_path, 6)
    alone, together = tmp_path / "alone", tmp_path / "together"
    harness(cache, "run", file, "--results", alone)
    driver = start(cache, "run", file, *TWO, "--results", together, "--cluster", "slurm", "--wait")
    nodes = set()
    while driver.poll() is None:
        with contextlib.suppress(Exception):
            known = Queue.ask(Batches(together))
            nodes |= {job.nodes for jobs in known.by_stage.values() for job in jobs if job.state == "RUNNING"}
        time.sleep(0.5)
    out, err = driver.communicate()
    assert driver.returncode == 0, err[-3000:] + out[-1000:]
    assert any("," in each or "-" in each for each in nodes), nodes  # n[1-2] or n1,n3
    for phase in ("align", "main"):
        assert losses(together, phase) == pytest.approx(losses(alone, phase), rel=1e-4)
    assert {(each["ranks"], each["sharding"]) for each in summaries(together, "train")} == {(2, "shard")}
    assert {each["ranks"] for each in summaries(together, "evaluate")} == {2}
    assert score_files(together) == score_files(alone)
    attempts = list(together.glob("stages/*/*/attempts/*.json"))
    assert {json.loads(path.read_text())["state"] for path in attempts} == {"finished"}
    assert not list(together.glob("batches/*/private/*.crashes"))


@pytest.mark.timeout(550)
@pytest.mark.parametrize("victim", ["0", "1"])
def test_a_task_that_is_killed_takes_the_others_with_it_and_the_job_resumes(
    cluster: Cluster, tmp_path: Path, cache: Path, victim: str
) -> None:
    file, results = sweep(tmp_path, 150), tmp_path / "results"
    driver = start(cache, "run", file, *TWO, "--results", results, "--cluster", "slurm", "--wait")
    try:
        cluster.wait(lambda: any(results.glob("stages/train/main-*/scratch/checkpoint/*")), 200, "checkpoint")
        (folder,) = results.glob("stages/train/main-*")
        tasks = {rank: processes_of(cluster, rank) for rank in ("0", "1")}
        assert all(tasks.values())
        for pid in tasks.pop(victim):
            os.kill(pid, signal.SIGKILL)
        (others,) = tasks.values()
        cluster.wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in others), 30, "end of the other task")
        cluster.wait(lambda: (folder / "done.json").exists(), 250, "result")
    finally:
        driver.kill()
        driver.communicate()
    states = [json.loads(path.read_bytes())["state"] for path in sorted(folder.glob("attempts/*.json"))]
    assert states[-1] == "finished"
    assert len(states) == 2
    assert json.loads((folder / "done.json").read_bytes())["summary"]["ranks"] == 2
    rows = pq.read_table(folder / "telemetry.parquet").to_pylist()
    assert [row["step"] for row in rows] == list(range(150))  # each once: it went on from the checkpoint


@pytest.mark.timeout(550)
def test_tasks_that_are_warned_end_together_and_the_job_resumes(cluster: Cluster, tmp_path: Path, cache: Path) -> None:
    file, results = sweep(tmp_path, 150), tmp_path / "results"
    harness(cache, "run", file, *TWO, "--results", results, "--cluster", "slurm")
    cluster.wait(lambda: any(results.glob("stages/train/main-*/scratch/checkpoint/*")), 200, "checkpoint")
    (folder,) = results.glob("stages/train/main-*")
    job = json.loads((folder / "attempts" / "1.json").read_bytes())["job"]
    cluster.command("scancel", "--signal=USR2", job)
    cluster.wait(lambda: (folder / "done.json").exists(), 250, "result")
    first, second = (json.loads(path.read_bytes()) for path in sorted(folder.glob("attempts/*.json")))
    assert (first["state"], first["reason"], first["retryable"]) == ("failed", "interrupted (SystemExit)", True)
    assert (second["state"], second["job"]) == ("finished", job)
    assert not list(results.glob("batches/*/private/*.crashes"))


def processes_of(cluster: Cluster, rank: str) -> set[int]:
    """The stage's process of a task; the job's script has the number of the first one too."""
    found = cluster.processes({"SLURM_PROCID": rank})
    return {pid for pid in found if b"submitit.core._submit" in Path(f"/proc/{pid}/cmdline").read_bytes()}
