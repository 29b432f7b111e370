"""How long a table takes from a store of thousands of runs, and a plan of thousands of variants.

    python benchmarks/analysis_scale.py [--runs 10000] [--samples 1000] [--folder DIR] [--keep] [--processes 2]

Builds a sweep (four benchmarks, three controls, three seeds) as ``harness run`` would leave it: the plan and its record
by the planner, stages registered and sealed by the store, scores in the layout of the evaluation; only the weights are
missing, and nothing waits for the disk. Then times the real commands, each in a process of its own, with the largest
memory of that process and its children: cold (no derived cache; the system's page cache dropped where this process may,
else it says so), warm, and after one more run has finished. All tables of the same store must be equal to the byte.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing import Pool
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from harness.evaluate.records import parquet_schema, write_parquet
from harness.plan import Plan, Run, build, measure
from harness.plan.sweeps import save, to_json
from harness.spec import load
from harness.store import Stage, Store, record
from harness.store.attempts import FINISHED, Attempt, add
from harness.store.provenance import provenance

TASKS = {"vqav2": "vqa-always", "textvqa": "textvqa-m4c", "okvqa": "vqa-always", "coco": "cider-d"}
CONDITIONS = ("intact", "withheld", "shuffled", "majority")
SUBSETS = {"textvqa": ("seen_signs", "unseen_signs"), "okvqa": ("", "untaught_facts")}
WORDS = ("red", "green", "two", "dog", "umbrella", "savanna", "magician", "on the left", "a violin", "unanswerable")
SEEDS = 3
MODELS = 25
"""Different models whose scores are dealt out to the variants: compressing 40,000 files would take most of the time."""

TABLE_SWEEP = """
name: scale
question: How long does a table of thousands of runs take?
recipe: idefics2
scale: micro
factors:
  tokens: {{key: model.connector.num_tokens, levels: [4, 9, 16, 36]}}
  pooling:
    levels: {{perceiver: {{model.connector.kind: perceiver}}, average: {{model.connector.kind: average_pool}}}}
  rate: {{key: training.learning_rate.language, levels: {rates}}}
baseline: {{tokens: 36, pooling: perceiver}}
seeds: [0, 1, 2]
data: {{microworld: {{test_scenes: 4000}}}}
evaluation:
  tasks: {{vqav2: {{samples: {n}}}, textvqa: {{samples: {n}}}, okvqa: {{samples: {n}}}, coco: {{samples: {n}}}}}
analysis: {{primary: mean, min_effect: 3.0}}
claims:
  - {{id: I2-13, contrast: {{tokens: [4, 36]}}, where: {{pooling: perceiver}}, expect: equivalent}}
positive_control: {{contrast: {{tokens: [4, 36]}}, where: {{pooling: average}}, benchmark: textvqa}}
"""

PLAN_SWEEP = """
name: scale_plan
question: How long does a plan of ten thousand variants take?
recipe: idefics2
scale: micro
factors:
  rate: {{key: training.learning_rate.language, levels: {rates}}}
  connector_rate: {{key: training.learning_rate.connector, levels: {connector_rates}}}
  decay: {{key: training.optimizer.weight_decay, levels: {decays}}}
seeds: [0]
analysis: {{primary: mean, min_effect: 3.0}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--variants", type=int, default=10_000, help="of the plan; 0 leaves it out")
    parser.add_argument("--folder", type=Path, help="where the store is built, or lies from before")
    parser.add_argument("--keep", action="store_true", help="do not delete the store")
    parser.add_argument("--processes", type=int, default=2, help="for building")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="analysis-scale-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        print("| what | seconds | CPU s | memory GB |\n|---|---:|---:|---:|")
        if arguments.runs:
            time_tables(folder, arguments.runs, arguments.samples, arguments.processes)
        if arguments.variants:
            time_plan(folder, arguments.variants)
    finally:
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)


# The commands


def time_tables(folder: Path, runs: int, samples: int, processes: int) -> None:
    variants = max(1, round(runs / SEEDS / 8))
    file = folder / "scale.yaml"
    file.write_text(TABLE_SWEEP.format(rates=_ladder(1e-4, variants), n=samples))
    plan = build(load(file))
    results = folder / "results"
    if not (results / "built").exists():
        build_store(plan, results, samples, processes)
    take_back(plan, results)
    shutil.rmtree(results / "cache", ignore_errors=True)
    what = f"table of {len(plan.runs):,} runs"
    dropped = drop_page_cache()
    first = command(f"{what}, cold" + ("" if dropped else " (page cache not dropped)"), "table", results)
    assert command(f"{what}, warm", "table", results) == first
    assert command(f"{what}, warm again", "table", results) == first
    finish_run(Store(results), plan, plan.runs[-1], samples)
    added = command(f"{what}, one run added", "table", results)
    assert added != first
    assert command(f"{what}, warm with it", "table", results) == added
    command(f"claims of {len(plan.runs):,} runs, warm", "claims", results)
    shutil.rmtree(results / "cache", ignore_errors=True)
    assert command(f"{what}, no derived cache, page cache full", "table", results) == added
    shutil.rmtree(results / "cache", ignore_errors=True)
    drop_page_cache()
    command(f"claims of {len(plan.runs):,} runs, cold", "claims", results)


def time_plan(folder: Path, variants: int) -> None:
    side = max(1, round(variants / 500))
    file = folder / "scale_plan.yaml"
    ladders = {"rates": _ladder(1e-4, side), "connector_rates": _ladder(1e-4, 25), "decays": _ladder(1e-3, 20)}
    file.write_text(PLAN_SWEEP.format(**ladders))
    command(f"plan of {side * 500:,} variants, empty results", "plan", folder / "empty", str(file))
    command(f"plan of {side * 500:,} variants as JSON", "plan", folder / "empty", str(file), "--json")
    if (folder / "results").exists():
        command(f"plan of {side * 500:,} variants beside that store", "plan", folder / "results", str(file))
        command("plan of that store's own sweep", "plan", folder / "results", str(folder / "scale.yaml"))


def command(what: str, name: str, results: Path, *more: str) -> str:
    """Runs a command, prints a line with its costs and returns a digest of what it printed."""
    arguments = [*more] if more else ["scale", "--json"]
    line = [sys.executable, "-m", "harness", name, *arguments, "--results", str(results)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(line, stdout=out)
        memory = peak_memory(process)
        seconds = time.perf_counter() - began
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(line)} ended with {process.returncode}")
        out.seek(0)
        digest = hashlib.file_digest(out, "sha256").hexdigest()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"| {what} | {seconds:.1f} | {used:.1f} | {memory / 1e9:.2f} |", flush=True)
    return digest


def peak_memory(process: subprocess.Popen[bytes]) -> int:
    """Bytes: the largest sum of the proportional memory of a process and its children, asked ten times a second."""
    largest = 0
    while process.poll() is None:
        largest = max(largest, sum(_memory(pid) for pid in _family(process.pid)))
        time.sleep(0.1)
    return largest


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return [pid, *(inner for child in children for inner in _family(int(child)))]


def _memory(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def drop_page_cache() -> bool:
    """Whether the system has forgotten the files, so that they come from the disk."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError:
        return False
    return True


def _ladder(lowest: float, steps: int) -> list[float]:
    return [float(f"{lowest * (1 + 0.01 * step):.6g}") for step in range(steps)]


# The store


def build_store(plan: Plan, results: Path, samples: int, processes: int) -> None:
    began = time.perf_counter()
    save(results, plan.sweep.name, to_json(plan, measure(plan)))
    store = Store(results)
    for run in plan.runs[:1]:
        for stage_id in run.features:
            seal(store, plan.stages[stage_id], {"features.npy": b"x"}, {"images": 1176, "width": 128})
    # The phases that runs share are written here, so that no two processes write the same stage.
    for stage_id in dict.fromkeys(stage_id for run in plan.runs for stage_id in run.train[:-1]):
        seal(store, plan.stages[stage_id], train_files(), train_summary(stage_id))
    work = [[(run.variant.name, run.seed) for run in plan.runs[start::processes]] for start in range(processes)]
    global _plan  # what the forked processes share
    _plan = plan
    with Pool(processes) as pool:
        pool.starmap(_finish_runs, [(results, part, samples) for part in work])
    (results / "built").touch()
    size = sum(path.stat().st_size for path in results.rglob("*") if path.is_file())
    seconds = time.perf_counter() - began
    print(f"| (building: {len(plan.stages):,} stages, {size / 1e9:.1f} GB) | {seconds:.0f} | | |", flush=True)


_plan: Plan


def _finish_runs(results: Path, chosen: Sequence[tuple[str, int]], samples: int) -> None:
    store, wanted = Store(results), set(chosen)
    for run in _plan.runs:
        if (run.variant.name, run.seed) in wanted:
            finish_run(store, _plan, run, samples)


def finish_run(store: Store, plan: Plan, run: Run, samples: int) -> None:
    seal(store, plan.stages[run.train[-1]], train_files(), train_summary(run.train[-1]))
    for task, stage_id in run.evaluate.items():
        content, summary = evaluation(task, _number(run.variant.name, task) % MODELS, run.seed, samples)
        seal(store, plan.stages[stage_id], {"scores.parquet": content, "summary.json": b"{}"}, summary)


def take_back(plan: Plan, results: Path) -> None:
    """Removes the last run, which is added again later."""
    store, run = Store(results), plan.runs[-1]
    for stage_id in (run.train[-1], *run.evaluate.values()):
        folder = store.find(stage_id)
        if folder is not None:
            shutil.rmtree(folder)
            (results / "names" / stage_id).unlink()


def seal(store: Store, stage: Stage, files: Mapping[str, bytes], summary: Mapping[str, Any]) -> None:
    """A finished stage, as a workspace leaves it; without its lease and without waiting for the disk."""
    with mock.patch("os.fsync"):
        folder = store.register(stage).parent
        if (folder / record.NAME).exists():
            return
        for name, content in files.items():
            (folder / name).write_bytes(content)
        attempt = add(folder, Attempt(0, FINISHED, provenance=provenance()))
        sealed = record.Record(
            id=stage.id,
            digest=stage.digest,
            outcome="complete",
            summary=summary,
            outputs=record.digest_outputs(folder),
            attempt=attempt.number,
            finished="2026-01-01T00:00:00+00:00",
            wall_seconds=100.0,
            core_seconds=90.0,
            total_core_seconds=95.0,
            provenance=provenance(),
        )
        record.write(folder, sealed)


def train_files() -> dict[str, bytes]:
    return {"audit.json": b"{}", "telemetry.parquet": b"PAR1" + bytes(2000)}


def train_summary(stage_id: str) -> dict[str, Any]:
    seconds = 60.0 + int(stage_id[:4], 16) / 65536
    return {
        "steps": 400,
        "parameters": {"total": 2084096, "trainable": 263424},
        "train_flops": 1758439389184.0,
        "train_seconds": seconds,
        "visual_tokens_per_image": 36,
        "final_loss": 0.7171521207470914,
    }


@cache
def evaluation(task: str, model: int, seed: int, samples: int) -> tuple[bytes, dict[str, Any]]:
    """Scores of one trained model: its level, noise of the seed, of the sample, and of both."""
    import pyarrow

    columns = dict(asked(task, samples))
    generator = np.random.Generator(np.random.PCG64(_number(model, seed, task)))
    level = 40.0 + 20.0 * (_number(model, task) % 1000 / 1000 - 0.5) + generator.normal(0, 2.0)
    hardness = np.random.Generator(np.random.PCG64(_number(task))).normal(0, 25.0, samples)
    points = []
    for condition in CONDITIONS:
        base = level + hardness if condition == "intact" else np.full(samples, 12.0)
        points.append(base + generator.normal(0, 15.0, samples))
    scores = np.clip(np.concatenate(points), 0.0, 100.0)
    scores = scores if task == "coco" else np.round(scores / 30.0) * 30.0 % 120.0
    words = np.array(WORDS)[generator.integers(0, len(WORDS), len(scores))]
    if task == "coco":
        more = generator.integers(0, len(WORDS), (4, len(scores)))
        words = np.array([" and ".join(parts) for parts in zip(words, *np.array(WORDS)[more], strict=True)])
    columns |= {
        "text": pyarrow.array(words),
        "answer": pyarrow.array(words),
        "score": pyarrow.array(scores),
        "training_seed": pyarrow.array(np.full(len(scores), seed)),
        "metric": pyarrow.array([TASKS[task]] * len(scores)),
    }
    schema = parquet_schema()
    content = write_parquet(pyarrow.table([columns[name] for name in schema.names], schema=schema))
    return content, evaluation_summary(task, scores.reshape(len(CONDITIONS), -1).mean(axis=1), samples)


@cache
def asked(task: str, samples: int) -> Mapping[str, Any]:
    """The columns that every model has in common."""
    import pyarrow

    numbers = range(samples)
    subsets = SUBSETS.get(task, ("", ""))
    controls = CONDITIONS[1:]
    sets = [number * 7 % 8 for number in numbers]
    demonstrations = [[f"{1000 * chosen + k}01" for k in range(4)] for chosen in sets]
    prompts = [
        hashlib.sha256(f"{task} {condition} {number}".encode()).hexdigest() if condition != "majority" else ""
        for condition in CONDITIONS
        for number in numbers
    ]
    found: dict[str, list[Any]] = {
        "task": [task] * samples * 4,
        "condition": [condition for condition in CONDITIONS for _ in numbers],
        "sample_id": [f"{1000200000 + 37 * number}" for number in numbers] * 4,
        "image_id": [f"{1000200 + number // 3}" for number in numbers] * 4,
        "demonstration_set": sets * 3 + [-1] * samples,
        "demonstration_ids": demonstrations * 3 + [[]] * samples,
        "prompt_sha256": prompts,
        "demonstration_seed": [0] * samples * 4,
        "subset": [subsets[number % 2] for number in numbers] * 4,
        "question_type": [("what color", "how many", "who would")[number % 3] for number in numbers] * 4,
        "visual_tokens": [180] * samples * (1 + len(controls)),
    }
    schema = parquet_schema()
    return {name: pyarrow.array(values, schema.field(name).type) for name, values in found.items()}


def evaluation_summary(task: str, means: Any, samples: int) -> dict[str, Any]:
    """As large as a real one."""
    conditions = {
        condition: {"mean": float(value), "n": samples, "subsets": {}, "question_types": {}}
        for condition, value in zip(CONDITIONS, means, strict=True)
    }
    digests = {condition: hashlib.sha256(condition.encode()).hexdigest() for condition in CONDITIONS[:-1]}
    return {
        "task": task,
        "metric": TASKS[task],
        "conditions": conditions,
        "demonstrations": {
            "strategy": "fixed_sets",
            "sets": [[f"{1000 * n + k}01" for k in range(4)] for n in range(8)],
        },
        "prompts_sha256": digests,
        "visual_tokens_per_image": 36,
        "queries": 3 * samples,
    }


def _number(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


if __name__ == "__main__":
    main()
