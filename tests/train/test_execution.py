"""How a training is carried out reaches the worker, decides no id, and lets a state go on wherever the model is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness.distributed.ranks import Ranks
from harness.errors import HarnessError
from harness.train import checkpoint
from harness.train.execution import Execution
from harness.train.stage import refuse_batch_norm
from harness.train.telemetry import matrix_product_rate, peak_memory_bytes
from tests.synthetic import make_plan, write_sweep


def test_the_runtime_reaches_the_worker_and_is_no_part_of_an_identity(tmp_path: Path) -> None:
    file = write_sweep(tmp_path)
    plain = make_plan(file)
    other = make_plan(file, ["runtime.gradient_checkpointing=true", "runtime.attention=sdpa"])
    assert plain.stages.keys() == other.stages.keys()
    for stage_id, stage in plain.stages.items():
        assert Execution.of(stage) == Execution()
        assert "runtime" not in stage.location  # stored stages stay as they were
        if stage.kind == "train":
            assert Execution.of(other.stages[stage_id]) == Execution(gradient_checkpointing=True, attention="sdpa")


def test_a_state_goes_back_to_the_device_of_the_model(tmp_path: Path) -> None:
    """The fused AdamW refuses a state elsewhere than its parameter; "meta" stands for a GPU."""
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model(torch.randn(1, 3)).sum().backward()
    optimizer.step()
    checkpoint.save(tmp_path, model, optimizer)
    elsewhere = nn.Linear(3, 2, device="meta")
    again = torch.optim.AdamW(elsewhere.parameters())
    checkpoint.load(tmp_path, elsewhere, again)
    assert {state.device.type for values in again.state.values() for state in values.values()} == {"meta"}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_yardstick_is_measured_where_and_as_the_model_computes(precision: str) -> None:
    shapes = {"a": (64, 32, 16), "b": (64, 32, 16), "c": (8, 8, 8)}
    assert matrix_product_rate(shapes, 0.01, torch.device("cpu"), precision) > 0
    assert peak_memory_bytes(torch.device("cpu")) == pytest.approx(peak_memory_bytes(), rel=0.5)


def test_trained_batch_normalisation_is_refused_by_several_ranks() -> None:
    layer: Any = nn.Sequential(nn.BatchNorm2d(2))
    refuse_batch_norm(layer, Ranks(0, 1))
    with pytest.raises(HarnessError, match="batch normalisation"):
        refuse_batch_norm(layer, Ranks(0, 2))
    refuse_batch_norm(layer.requires_grad_(False), Ranks(0, 2))
