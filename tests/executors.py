"""Executors for runs without a training: they report, may wait, fail or diverge, and write what analysis reads.

``behaviour.json`` in the store's folder says how: ``{"wait": [slug part, seconds], "fail": slug part, "diverge": slug
part}``.
"""

from __future__ import annotations

import json
import time
from typing import Any

from harness.store import Workspace
from tests.synthetic_scores import parquet_bytes, random_scores, rows, train_summary

REGISTRY = {
    "features": "tests.executors:features",
    "train": "tests.executors:train",
    "evaluate": "tests.executors:evaluate",
}


def features(workspace: Workspace) -> None:
    workspace.write_bytes("features.npy", b"features")
    workspace.finish(summary={"grid": [1, 1]})


def train(workspace: Workspace) -> None:
    behaviour = _behaviour(workspace)
    slug = workspace.stage.slug
    if behaviour.get("fail") and behaviour["fail"] in slug:
        print("about to fail")
        raise ValueError("no good")
    for step in range(4):
        workspace.report(step=step + 1, steps=4, loss=1.5 - 0.1 * step)
        part, seconds = behaviour.get("wait", ["none", 0])
        if part in slug:
            time.sleep(seconds)
    workspace.write_bytes("model.bin", b"model")
    tokens = workspace.stage.config["model"]["connector"]["num_tokens"]
    diverged = bool(behaviour.get("diverge")) and behaviour["diverge"] in slug
    summary = {**train_summary(tokens=tokens), **({"step": 3} if diverged else {})}
    workspace.finish("diverged" if diverged else "complete", summary)


def evaluate(workspace: Workspace) -> None:
    task, seed, variant = workspace.stage.slug.split("-", 2)
    content = rows(variant, task, int(seed.removeprefix("seed")), random_scores())
    workspace.write_bytes("scores.parquet", parquet_bytes(content))
    workspace.finish()


def _behaviour(workspace: Workspace) -> dict[str, Any]:
    path = workspace.directory.parents[2] / "behaviour.json"
    return json.loads(path.read_text()) if path.exists() else {}
