"""The executor of train stages on several ranks, real processes: its curve, its audit, and an interruption between."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from harness.data.microworld import ensure
from harness.launch.execution import execute
from harness.launch.siblings import Siblings
from harness.plan import build
from harness.plan.data import DataSource
from harness.plan.weights import Backbones
from harness.spec import load
from harness.store import Stage, Store, Terms
from harness.train.execution import Execution

SWEEP = """\
name: ranks
question: Do ranks train as one?
recipe: idefics2
scale: smoke
factors:
  tokens: {key: model.connector.num_tokens, levels: [9]}
baseline: {tokens: 9}
seeds: [0]
phases: {align: {steps: 1}, main: {steps: 5}}
runtime: {feature_cache: off}
evaluation: {tasks: {okvqa: null, coco: null, textvqa: null}, curve: [0.5]}
"""
STOP = 2
ON_THE_WAY = "snapshots/2/model.safetensors"
"""The model half way through the six steps of both phases: after the second of the last phase's."""
TOO_FAST = "main: {steps: 5, learning_rate: {connector: 1.0e+38}}"


class Stopped(Exception):
    pass


class Bench:
    """The stages of a training, the first of them done, to be gone on with in stores of their own."""

    def __init__(self, folder: Path, sweep: str) -> None:
        file = folder / "ranks.yaml"
        file.write_text(sweep)
        plan = build(load(file), Backbones(folder / "weights.json"), DataSource(folder))
        self.first, self.main = (plan.stages[stage_id] for stage_id in plan.runs[0].train)
        ensure(json.loads(self.main.location["world"]), folder)
        self._folder = folder
        self._siblings = Siblings()
        assert self.run(Store(folder / "first", Terms(poll=0.1)), self.first, 1, "replicate").state == "finished"

    def store(self, name: str) -> Store:
        shutil.copytree(self._folder / "first", self._folder / name)
        return Store(self._folder / name, Terms(poll=0.1))

    def run(self, store: Store, stage: Stage, ranks: int, sharding: str, stop: int = 0) -> Any:
        """With a checkpoint after every step; interrupted on rank 0 after ``stop`` of them."""
        told = replace(Execution.of(stage), ranks=ranks, sharding=sharding, checkpoint_seconds=-1.0).told(stage)

        def listen(progress: Mapping[str, Any]) -> None:
            if stop and progress.get("step") == stop + 1:
                raise Stopped

        return execute(store, told, listener=listen, together=self._siblings.together)

    def end(self) -> None:
        self._siblings._disband()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("bench"), SWEEP)
    yield made
    made.end()


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, SWEEP.replace("main: {steps: 5}", TOO_FAST))
    yield made
    made.end()


def rows(store: Store, stage: Stage) -> list[dict[str, float]]:
    file = store.outputs(stage).path("telemetry.parquet")
    return [{k: v for k, v in row.items() if k != "seconds"} for row in pq.read_table(file).to_pylist()]


def audit(store: Store, stage: Stage) -> dict[str, Any]:
    return dict(json.loads(store.outputs(stage).path("audit.json").read_bytes()))


def test_a_phase_goes_on_at_another_number_of_ranks(bench: Bench) -> None:
    alone = bench.store("alone")
    assert bench.run(alone, bench.main, 1, "replicate").state == "finished"
    expected = rows(alone, bench.main)
    for name, before, after in (
        ("joined", (1, "replicate"), (2, "shard")),
        ("parted", (2, "shard"), (1, "replicate")),
        ("whole", (2, "shard"), (2, "replicate")),
    ):
        store = bench.store(name)
        stopped = bench.run(store, bench.main, *before, stop=STOP)
        assert stopped.state == "failed", stopped
        assert "Stopped" in stopped.reason
        ended = bench.run(store, bench.main, *after)
        assert ended.state == "finished", ended.reason
        found = rows(store, bench.main)
        assert len(found) == len(expected)
        for row, other in zip(found, expected, strict=True):
            assert all(math.isclose(row[key], other[key], rel_tol=1e-4, abs_tol=1e-9) for key in other), (row, other)
        record = store.record(bench.main)
        assert record is not None
        assert (record.summary["ranks"], record.summary["sharding"]) == after
        told, undisturbed = audit(store, bench.main), audit(alone, bench.main)
        assert told["problems"] == []
        for key in ("declared", "changed", "adapter_targets", "document_order_sha256"):
            assert told[key] == undisturbed[key]
        assert sorted(store.outputs(bench.main).record.outputs) == sorted(alone.outputs(bench.main).record.outputs)
        half_way, whole = (load_file(each.outputs(bench.main).path(ON_THE_WAY)) for each in (store, alone))
        assert half_way.keys() == whole.keys()
        for key, values in whole.items():
            torch.testing.assert_close(half_way[key], values, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("sharding", ["replicate", "shard"])
def test_ranks_diverge_together(fast: Bench, sharding: str) -> None:
    told = []
    for ranks in (1, 2):
        store = fast.store(f"of {ranks}")
        ended = fast.run(store, fast.main, ranks, sharding)
        assert ended.state == "finished", ended.reason
        record = store.record(fast.main)
        assert record is not None
        assert record.outcome == "diverged"
        assert record.summary["ranks"] == ranks
        told.append((record.summary["step"], record.summary["what"], len(rows(store, fast.main))))
    assert told[0] == told[1]
