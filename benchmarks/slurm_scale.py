"""Twenty thousand pending stages on a real Slurm: how long submission and status take, and what the driver needs.

    python benchmarks/slurm_scale.py [STAGES]

Starts a cluster of its own (as the tests do) whose only job is to hold the queue; nothing is computed.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from harness.launch import slurm  # noqa: E402
from harness.launch.slurm import Resources  # noqa: E402
from harness.launch.status import status  # noqa: E402
from harness.store import Stage, Store  # noqa: E402
from tests.slurm.slurm_cluster import Cluster  # noqa: E402


def sweep(stages: int) -> list[Stage]:
    """Runs of a training and four evaluations, with a config of the usual size."""
    padding = {f"key{number}": {"value": number, "words": "as long as a config is"} for number in range(40)}
    found = []
    for run in range(stages // 5):
        train = Stage("train", 1, {"seed": run, **padding}, {}, {"data": "0" * 32}, f"main-seed{run}")
        found.append(train)
        for task in ("vqav2", "textvqa", "okvqa", "coco"):
            config = {"task": task, "seed": run, **padding}
            found.append(Stage("evaluate", 1, config, {"model": train.id}, {"data": "0" * 32}, f"{task}-seed{run}"))
    return found


def timed(name: str, act: object) -> object:
    began = time.perf_counter()
    result = act()  # type: ignore[operator]
    print(f"{name}: {time.perf_counter() - began:.1f} s", flush=True)
    return result


def calls(cluster: Cluster) -> int:
    """Requests for the list of jobs that the controller has answered so far."""
    text = cluster.command("sdiag").stdout
    return sum(int(line.split("count:")[1].split()[0]) for line in text.splitlines() if "REQUEST_JOB_INFO" in line)


def main() -> None:
    stages = sweep(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
    cluster = Cluster(nodes=2, extra="MaxArraySize=5001\nMaxJobCount=100000\n")
    cluster.start()
    try:
        cluster.command("scontrol", "update", "PartitionName=toys", "State=DOWN")  # jobs are taken, none begins
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder) / "store")
            wish = Resources(time_minutes=60, memory_gb=1.0)
            submitted = timed("submission", lambda: slurm.submit(store, stages, lambda stage: wish, title="scale"))
            arrays = len(list((store.root / "batches").iterdir()))
            print(f"  {len(submitted.submitted)} jobs in {arrays} arrays")  # type: ignore[attr-defined]
            timed("submission again", lambda: slurm.submit(store, stages, lambda stage: wish, title="scale"))
            before = calls(cluster)
            found = timed("status", lambda: status(store, stages))
            print(f"  {calls(cluster) - before} squeue; states: {json.dumps(_counts(found))}")
            size = subprocess.run(["du", "-sm", folder], capture_output=True, text=True, check=True).stdout.split()[0]
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"peak memory of this process: {peak:.0f} MB; on disk: {size} MB")
    finally:
        cluster.stop()


def _counts(found: object) -> dict[str, int]:
    counts: dict[str, int] = {}
    for each in found.values():  # type: ignore[attr-defined]
        counts[each.state] = counts.get(each.state, 0) + 1
    return counts


if __name__ == "__main__":
    main()
