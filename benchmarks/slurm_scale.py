"""Twenty thousand pending stages on a real Slurm: how long submission and status take, and what the driver needs.

    python benchmarks/slurm_scale.py [STAGES]

First the launcher alone, then the commands `harness run --cluster slurm`, the same again with `--wait` for a minute,
and `harness status`, each with the most memory that its process had. Starts a cluster of its own (as the tests do)
whose only job is to hold the queue; nothing is computed.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from harness.launch import slurm  # noqa: E402
from harness.launch.slurm import Resources, WantedRun  # noqa: E402
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


SWEEP = """\
name: scale
recipe: idefics2
scale: smoke
factors:
  tokens: {key: model.connector.num_tokens, levels: [1, 4, 9, 16]}
baseline: {tokens: 9}
cluster: {memory_gb: 1.0, snapshot: false}
"""
STAGES_A_RUN = 6  # two phases, four benchmarks


def commands(cluster: Cluster, folder: Path, stages: int) -> None:
    """The commands on a sweep of about so many stages."""
    file, results = folder / "scale.yaml", folder / "results"
    file.write_text(SWEEP)
    seeds = f"seeds=[{','.join(map(str, range(stages // STAGES_A_RUN // 4)))}]"
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    harness = [sys.executable, "-m", "harness"]
    run = [*harness, "run", str(file), seeds, "--cluster", "slurm", "--results", str(results)]
    subprocess.run([*harness, "data", "prepare", str(file), "--results", str(results)], env=environment, check=True)
    for name, command, seconds in (
        ("harness run", run, None),
        ("harness run --wait, a minute of it", [*run, "--wait"], 60.0),
        ("harness status", [*harness, "status", "scale", "--results", str(results)], None),
    ):
        before, began = calls(cluster), time.perf_counter()
        with tempfile.TemporaryFile("w+") as out:
            process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.DEVNULL)
            if seconds is not None:
                threading.Timer(seconds, process.send_signal, [signal.SIGINT]).start()
            _, _, used = os.wait4(process.pid, 0)  # of this one alone
            spent = time.perf_counter() - began
            peak = used.ru_maxrss / 1024
            print(f"{name}: {spent:.1f} s, {peak:.0f} MB, {calls(cluster) - before} squeue", flush=True)
            out.seek(0)
            print("  " + "\n  ".join(out.read().splitlines()[:3]), flush=True)


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
            wanted = WantedRun("scale", stages, [Resources(time_minutes=60, memory_gb=1.0)] * len(stages))
            submitted = timed("submission", lambda: slurm.submit(store, wanted))
            arrays = len(list((store.root / "batches").iterdir()))
            print(f"  {len(submitted.submitted)} jobs in {arrays} arrays")  # type: ignore[attr-defined]
            timed("submission again", lambda: slurm.submit(store, wanted))
            before = calls(cluster)
            found = timed("status", lambda: status(store, stages))
            print(f"  {calls(cluster) - before} squeue; states: {json.dumps(_counts(found))}")
            size = subprocess.run(["du", "-sm", folder], capture_output=True, text=True, check=True).stdout.split()[0]
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"peak memory of this process: {peak:.0f} MB; on disk: {size} MB")
            commands(cluster, Path(folder), len(stages))
    finally:
        cluster.stop()


def _counts(found: object) -> dict[str, int]:
    counts: dict[str, int] = {}
    for each in found.values():  # type: ignore[attr-defined]
        counts[each.state] = counts.get(each.state, 0) + 1
    return counts


if __name__ == "__main__":
    main()
