"""``harness doctor --train RECIPE``: twenty steps on this machine, with its device and kernels, seen from all sides.

The steps are those of ``harness run``: the stages of a plan, carried out by the executors, on a microworld drawn for
the purpose. So a recipe at the scales ``lab`` and ``paper`` needs its backbones, but no data.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.entry import ERROR
from harness.errors import HarnessError
from harness.plan import Plan, build, cache_folder
from harness.plan.checking import check_stage
from harness.report.layout import columns
from harness.report.quantities import quantity
from harness.spec import config_of, load_values
from harness.store import Stage, Store

if TYPE_CHECKING:
    from harness.store.workspace import Listener

STEPS, STOP = 20, 10
STEPS_BEFORE = 2
"""Of each phase before: what stands behind a gate that starts closed learns from the second step on."""

WARM = 3
"""Steps that do not count as speed: kernels are chosen and memory is asked for in them."""

WORLD = {"seed": 0, "train_scenes": 256, "support_scenes": 16, "validation_scenes": 8, "test_scenes": 16}

SAME = {"cpu": 0.0, "cuda": 1e-2}
"""Largest relative difference of a loss after a resume: kernels on a GPU sum in an order of their own."""

PEAKS: Mapping[str, float] = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A40": 150e12,
    "A30": 165e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}
"""Dense bfloat16 products a second with fp32 sums, FLOPs, by a part of the GPU's name; from NVIDIA's data sheets."""


@dataclass(frozen=True)
class Verdict:
    """One thing that has to hold: what was found, and whether it does."""

    what: str
    ok: bool
    found: str


class _Stopped(KeyboardInterrupt):
    """The interruption that is being rehearsed."""


def rehearse(recipe: str, scale: str, overrides: Sequence[str], as_json: bool) -> int:
    """Prints what was found; the exit code is 1 when something does not hold."""
    plan = _plan(recipe, scale, overrides)
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="rehearsal-", dir=cache_folder()) as folder:
            verdicts, measures = _run(plan, Path(folder))
    except OSError as error:
        raise HarnessError(
            f"{cache_folder()} cannot be written: {error.strerror}", "set HARNESS_CACHE to a folder with space"
        ) from error
    if as_json:
        content = {"recipe": recipe, "scale": scale, **measures, "checks": [asdict(verdict) for verdict in verdicts]}
        print(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        print(f"{recipe} at the scale {scale}, {STEPS} steps on {measures['device']}")
        rows = [("ok" if verdict.ok else "FAILED", verdict.what, verdict.found) for verdict in verdicts]
        print("\n".join(columns(rows + [("", what, found) for what, found in _told(measures)])))
    return 0 if all(verdict.ok for verdict in verdicts) else ERROR


def _plan(recipe: str, scale: str, overrides: Sequence[str]) -> Plan:
    """One run of the recipe: twenty steps of the last phase, two of each before it."""
    world = "data={root: microworld, microworld: {" + ", ".join(f"{key}: {size}" for key, size in WORLD.items()) + "}}"
    settings = [world, "training.schedule.warmup_steps=1", *overrides]
    names = list(config_of(recipe, scale, settings).phases)
    steps = [f"phases.{name}.steps={STEPS if name == names[-1] else STEPS_BEFORE}" for name in names]
    return build(
        load_values({"name": "rehearsal", "recipe": recipe, "scale": scale, "seeds": [0]}, [*settings, *steps])
    )


def _run(plan: Plan, folder: Path) -> tuple[list[Verdict], dict[str, Any]]:
    run = plan.runs[0]
    straight = Store(folder / "straight")
    used = [name for stage_id in run.train for name in plan.stages[stage_id].inputs.values()]
    before = [*(name for name in run.features if name in used), *run.train[:-1]]
    for stage_id in before:
        _execute(straight, plan.stages[stage_id])
    shutil.copytree(folder / "straight", folder / "stopped") if before else None
    last = plan.stages[run.train[-1]]
    _execute(straight, last)
    summary, rows = _results(straight, last)
    again = _stop_and_go_on(Store(folder / "stopped"), last)
    kind = "cuda" if summary["device"] != "cpu" else "cpu"
    verdicts = [_learns(rows), _resumes(rows, again, SAME[kind]), _checked(straight, check_stage(plan, run))]
    return verdicts, _measures(summary, rows, last.config["phase"]["precision"])


def _execute(store: Store, stage: Stage, listener: Listener | None = None) -> None:
    """Computes a stage in this process. Raises HarnessError when it fails."""
    from harness.launch.execution import execute

    done = execute(store, stage, listener=listener)
    if done.state == "failed":
        remedy = "correct the recipe, or report this with the output of `harness doctor`"
        if "memory" in done.reason:
            remedy = "add runtime.gradient_checkpointing=true, or a smaller training.micro_batch_size=N"
        raise HarnessError(f"{stage.kind} {stage.config.get('name', '')}: {done.reason}", remedy)


def _results(store: Store, stage: Stage) -> tuple[Mapping[str, Any], list[dict[str, Any]]]:
    import pyarrow.parquet as pq

    record = store.record(stage)
    folder = store.find(stage.id)
    assert record is not None
    assert folder is not None  # it was executed
    return record.summary, pq.read_table(folder / "telemetry.parquet").to_pylist()


def _stop_and_go_on(store: Store, stage: Stage) -> list[dict[str, Any]]:
    """The steps of a training that was interrupted half way and went on from its last checkpoint."""
    from harness.train.execution import Execution

    stage = replace(Execution.of(stage), checkpoint_seconds=-1.0).told(stage)  # one after every step

    def stop(progress: Mapping[str, Any]) -> None:
        if progress.get("step") == STOP + 1:
            raise _Stopped

    try:
        _execute(store, stage, stop)
    except _Stopped:
        pass
    else:
        raise HarnessError(f"the training did not reach step {STOP + 1}", "report this with `harness doctor`")
    _execute(store, stage)
    return _results(store, stage)[1]


def _learns(rows: Sequence[Mapping[str, Any]]) -> Verdict:
    """Over a quarter of the steps: batches differ."""
    quarter = STEPS // 4
    first, last = (statistics.mean(row["loss"] for row in part) for part in (rows[:quarter], rows[-quarter:]))
    return Verdict("the loss falls", len(rows) == STEPS and last < first, f"{first:.3g} → {last:.3g}")


def _resumes(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]], allowed: float) -> Verdict:
    """Interrupted after half of the steps, the losses are those of the run that was not."""
    differences = [abs(a["loss"] - b["loss"]) / abs(a["loss"]) for a, b in zip(one, other, strict=True)]
    largest = max(differences)
    what = "stopped and gone on, the same losses"
    return Verdict(what, largest <= allowed, "equal to the bit" if largest == 0.0 else f"differ by {largest:.2g}")


def _checked(store: Store, stage: Stage) -> Verdict:
    """``harness check`` of the trained model: as counted, and saved, packed and cached alike, on this device."""
    what = "as counted; saved, packed and cached alike"
    try:
        _execute(store, stage)
    except HarnessError as error:
        return Verdict(what, False, error.message)
    record = store.record(stage)
    assert record is not None
    names = {"saved": "saved", "packed": "packed", "cached": "cached", "packed_bfloat16": "packed in bfloat16"}
    names["kernel"] = "by the kernel"
    return Verdict(what, True, ", ".join(f"{names[key]} {value:.1g}" for key, value in record.summary.items()))


def _measures(summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], precision: str) -> dict[str, Any]:
    steady = rows[WARM:]

    def a_second(column: str) -> float:
        return statistics.median(row[column] / row["seconds"] for row in steady)

    rate = a_second("flops")
    peak = next((flops for name, flops in PEAKS.items() if name in summary["device"]), None)
    known = peak is not None and precision == "bfloat16"
    return {
        "device": summary["device"],
        "precision": precision,
        "attention_kernels": summary["attention_kernels"],
        "gradient_checkpointing": summary["gradient_checkpointing"],
        "peak_memory_bytes": summary["peak_memory_bytes"],
        "tokens_per_second": a_second("tokens"),
        "images_per_second": a_second("images"),
        "flops_per_second": rate,
        "share_of_device_peak": rate / peak if known and peak else None,
        "share_of_matrix_product_rate": rate / summary["matrix_product_rate"],
    }


def _told(measures: Mapping[str, Any]) -> list[tuple[str, str]]:
    kernels = ", ".join(measures["attention_kernels"])
    checkpointing = ", gradient checkpointing" if measures["gradient_checkpointing"] else ""
    share = f"{measures['share_of_matrix_product_rate']:.0%} of this machine's matrix products"
    if measures["share_of_device_peak"] is not None:
        share = f"{measures['share_of_device_peak']:.0%} of the device's peak, {share}"
    return [
        ("computed", f"{measures['precision']}, attention by {kernels}{checkpointing}"),
        ("peak memory", f"{quantity(measures['peak_memory_bytes'])}B"),
        (
            "throughput",
            f"{quantity(measures['tokens_per_second'])} tokens/s, {measures['images_per_second']:.3g} images/s",
        ),
        ("arithmetic", f"{quantity(measures['flops_per_second'])}FLOPs/s, {share}"),
    ]
