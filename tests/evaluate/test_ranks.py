"""Several ranks decode as one: the same demonstrations, texts and scores, to the byte, also when the number changes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.distributed.ranks import Ranks
from harness.evaluate import stage as executor
from harness.evaluate.decoding import Decoder
from harness.models import VLM
from harness.store import Stage, Store
from tests.distributed.worlds import as_ranks

from .stages import evaluate_stage, keep_features, keep_model, location
from .tiny import protocol

STOP = 3  # batches that a rank decodes before everything is killed


class Killed(Exception):
    pass


def evaluate(root: str, stage_json: str, stop: int = 0) -> None:
    """This rank's part of an evaluation; every rank dies after ``stop`` batches."""
    torch.set_num_threads(1)
    store, stage = Store(Path(root)), Stage.from_json(json.loads(stage_json))
    decode, asked = Decoder.decode, [0]

    def counted(self: Decoder, batch: Any) -> list[str]:
        if stop and asked[0] == stop:
            raise Killed
        asked[0] += 1
        return decode(self, batch)

    Decoder.decode = counted  # type: ignore[method-assign]
    try:
        if Ranks.current().leads:
            with store.open(stage) as workspace:
                executor.run(workspace)
        else:
            executor.run(store.follow(stage))
    except Killed:
        pass
    finally:
        Decoder.decode = decode  # type: ignore[method-assign]
        if Ranks.current().world_size > 1:
            Path(root, f"decoded-{Ranks.current().rank}").write_text(str(asked[0]))


def evaluate_all(tasks: list[tuple[str, str, int]]) -> None:
    for task in tasks:
        evaluate(*task)


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return location(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def stages(where: dict[str, str], vlm: VLM, processor: Any, tmp_path: Path) -> Any:
    """Makes a store of its own with a model and the stages to evaluate it by."""

    def make(name: str) -> tuple[str, list[Stage]]:
        store = Store(tmp_path / name)
        model = keep_model(store, vlm, processor)
        features = keep_features(store, vlm, processor, Path(where["data"]))
        asked = [protocol("textvqa"), protocol("coco", samples=7), protocol("vqav2", answers="rank", candidates=5)]
        made = [evaluate_stage(each, where, model, features) for each in asked]
        made[1] = dataclasses.replace(made[1], inputs={"model": model.id})  # from pixels
        for each in made:
            store.register(each)  # as rank 0 does before it calls the others
        return str(tmp_path / name), made

    return make


def scores(root: str, stage: Stage) -> dict[str, bytes]:
    outputs = Store(Path(root)).outputs(stage)
    found = {name: outputs.path(name).read_bytes() for name in outputs.record.outputs if name != "summary.json"}
    summary = json.loads(outputs.path("summary.json").read_bytes())
    return found | {"summary.json": json.dumps({k: v for k, v in summary.items() if "second" not in k}).encode()}


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_decode_as_one(stages: Any, tmp_path: Path, world_size: int) -> None:
    (one, made), (other, _) = stages("one"), stages("other")
    for each in made:
        evaluate(one, json.dumps(each.to_json()))
    # Interrupted as many ranks and finished as one, and the other way round.
    evaluate(other, json.dumps(made[1].to_json()), STOP)
    tasks = [(made[0], 0), (made[2], 1), (made[1], 0)]
    as_ranks(world_size, tmp_path, evaluate_all, [(other, json.dumps(each.to_json()), n) for each, n in tasks])
    assert not Store(Path(other)).is_done(made[2])
    evaluate(other, json.dumps(made[2].to_json()))
    for each in made:
        assert scores(other, each) == scores(one, each)
    recorded = Store(Path(other)).record(made[0])
    assert recorded is not None
    assert recorded.summary["ranks"] == world_size
    assert all(int(Path(other, f"decoded-{rank}").read_text()) > 0 for rank in range(world_size))
