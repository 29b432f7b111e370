"""Evaluate stages in a store, with a tiny trained model and a tiny data folder in the official formats."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.data.dataset import Dataset
from harness.data.features import ARRAY, write_index
from harness.data.microworld import WorldConfig, digest, ensure
from harness.evaluate.evaluation import Evaluation, images_in_order
from harness.evaluate.protocol import Protocol
from harness.models import VLM, PixelInputs
from harness.store import Stage, Store

WORLD = {"seed": 3, "train_scenes": 4, "support_scenes": 12, "validation_scenes": 4, "test_scenes": 16}


def write_world(cache: Path) -> Path:
    return ensure(WORLD, cache)


def location(cache: Path) -> dict[str, str]:
    return {"data": str(ensure(WORLD, cache)), "world": json.dumps(asdict(WorldConfig.of(WORLD)))}


def keep_model(store: Store, vlm: VLM, processor: Any, name: str = "main") -> Stage:
    """A finished train stage."""
    stage = Stage("train", 1, {"name": name})
    with store.open(stage) as workspace:
        if workspace.finished is None:
            with workspace.replace_directory("model") as folder:
                vlm.save_pretrained(folder)
                processor.save_pretrained(folder)
            workspace.finish()
    return stage


def keep_features(store: Store, vlm: VLM, processor: Any, data: Path) -> Stage:
    """A finished features stage with all images of the support and test pools."""
    stage = Stage("features", 1, {"images": "evaluation"})
    dataset = Dataset.open(data)
    pools = [
        dataset.examples(task, pool) for task in ("vqav2", "textvqa", "okvqa", "coco") for pool in ("support", "test")
    ]
    keys = sorted({example.image for pool in pools for example in pool})
    with store.open(stage) as workspace:
        if workspace.finished is None:
            pictures = [dataset.image(key) for key in keys]
            pixels = processor.image_processor(pictures, return_tensors="pt")["pixel_values"]
            with torch.inference_mode():
                features = vlm.encode(PixelInputs(pixels))
            np.save(workspace.path(ARRAY), features.features.numpy().astype(np.float16))
            write_index(workspace.directory, keys, features.grid)
            workspace.finish()
    return stage


def evaluate_stage(protocol: Protocol, where: dict[str, str], model: Stage, features: Stage | None = None) -> Stage:
    config = {**asdict(protocol), "controls": list(protocol.controls)}
    del config["matmul_precision"]
    inputs = {"model": model.id} | ({"features": features.id} if features else {})
    return Stage("evaluate", 1, config, inputs, {"data": digest(WORLD)[:32]}, protocol.task, where)


def images(protocol: Protocol, data: Path) -> list[str]:
    return images_in_order(Evaluation.prepare(protocol, Dataset.open(data)).all_prompts)
