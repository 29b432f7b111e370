"""Sweeps whose stages are written by hand: tables and reports without a training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from harness.plan import Plan, Run, build, measure
from harness.plan.data import DataSource
from harness.plan.sweeps import save, to_json
from harness.plan.weights import Backbones
from harness.spec import load
from harness.store import Stage, Store
from tests.synthetic_scores import TASKS, Row, Scorer, parquet_bytes, random_scores, rows, train_summary

__all__ = [
    "TASKS",
    "Row",
    "Scorer",
    "parquet_bytes",
    "random_scores",
    "rows",
    "train_summary",
]


VISION = {
    "model_type": "siglip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 96,
    "patch_size": 8,
}
LANGUAGE = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 128,
    "tie_word_embeddings": True,
    "max_position_embeddings": 2048,
}

SWEEP: Mapping[str, Any] = {
    "name": "pooling",
    "question": "How far can an image be pooled?",
    "recipe": "idefics2",
    "scale": "smoke",
    "factors": {
        "tokens": {"key": "model.connector.num_tokens", "levels": [4, 9]},
        "pooling": {
            "levels": {
                "perceiver": {"model.connector.kind": "perceiver"},
                "average": {"model.connector.kind": "average_pool"},
            }
        },
    },
    "baseline": {"tokens": 9, "pooling": "perceiver"},
    "seeds": [0],
    "analysis": {"primary": "mean", "min_effect": 3.0},
    "claims": [
        {"id": "I2-13", "contrast": {"tokens": [4, 9]}, "where": {"pooling": "perceiver"}, "expect": "equivalent"}
    ],
    "positive_control": {
        "contrast": {"tokens": [4, 9]},
        "where": {"pooling": "average"},
        "benchmark": "textvqa",
    },
}


def write_backbone(folder: Path, config: Mapping[str, Any], weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def write_sweep(folder: Path, **changes: Any) -> Path:
    """A sweep file with backbones of its own; ``changes`` replace top-level keys."""
    vision = write_backbone(folder / "vision", VISION)
    language = write_backbone(folder / "language", LANGUAGE)
    sizes = {"vision_backbone": str(vision), "language_backbone": str(language)}
    content = {**SWEEP, "sizes": sizes, **changes}
    path = folder / f"{content['name']}.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(content)), sort_keys=False))
    return path


def make_plan(file: Path, overrides: Sequence[str] = (), cache: Path | None = None) -> Plan:
    cache = cache or file.parent / "cache"
    return build(load(file, overrides), Backbones(cache / "weights.json"), DataSource(cache))


def record(plan: Plan) -> dict[str, Any]:
    return to_json(plan, measure(plan))


def save_record(plan: Plan, store: Store) -> None:
    save(store.root, plan.sweep.name, record(plan))


def finish(
    store: Store,
    stage: Stage,
    files: Mapping[str, bytes] | None = None,
    summary: Mapping[str, Any] | None = None,
    outcome: str = "complete",
) -> None:
    """Writes a finished stage; without waiting for the disk, which would take most of the time."""
    with mock.patch("os.fsync"):
        workspace = store.open(stage)
        if workspace.finished is not None:
            return
        for name, content in (files or {}).items():
            workspace.write_bytes(name, content)
        workspace.finish(outcome, summary or {})  # type: ignore[arg-type]


def finish_run(
    store: Store,
    plan: Plan,
    run: Run,
    scorer: Scorer | None = None,
    tasks: Sequence[str] = TASKS,
    **row_options: Any,
) -> None:
    """Finishes all stages of a run, evaluations of ``tasks`` only."""
    tokens = run.variant.config.model.connector.num_tokens
    for stage_id in (*run.features, *run.train):
        finish(store, plan.stages[stage_id], {"out.bin": b"x"}, train_summary(tokens=tokens))
    for task in tasks:
        content = rows(run.variant.name, task, run.seed, scorer or random_scores(), **row_options)
        finish(store, plan.stages[run.evaluate[task]], {"scores.parquet": parquet_bytes(content)})


def finished_sweep(folder: Path, scorer: Scorer | None = None, **changes: Any) -> tuple[Plan, Store]:
    """A sweep of which everything is done, and its record saved."""
    plan = make_plan(write_sweep(folder, **changes))
    store = Store(folder / "results")
    for run in plan.runs:
        finish_run(store, plan, run, scorer)
    save_record(plan, store)
    return plan, store
