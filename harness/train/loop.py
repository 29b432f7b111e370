"""The optimisation loop of one phase."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from harness.data.packing import PackedRows
from harness.distributed.ranks import Ranks
from harness.models.settings import COMPONENTS
from harness.models.vlm import VLM
from harness.train.inputs import to_model_inputs
from harness.train.optimizer import clip_gradients, gradient_norms, set_learning_rates
from harness.train.schedule import component_factors, learning_rate_factor
from harness.train.telemetry import Telemetry

Images = Callable[[Sequence[str]], Any]
"""Image keys → ``PixelInputs`` or ``FeatureInputs``."""


class Diverged(Exception):
    """The loss or a gradient stopped being finite; an outcome of the run, not a fault of the program."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(f"{what} is not finite at step {step}")
        self.step = step
        self.what = what


@dataclass(frozen=True)
class Step:
    """One step's work on this rank: its micro-batches, and the model FLOPs they cost.

    ``passes``: what goes through the model in their place where ranks have to do alike (``harness.train.passes``): the
    same documents with what is passed for the sake of the others, which is neither learned from nor counted.
    """

    micro_batches: Sequence[PackedRows]
    flops: int = 0
    passes: Sequence[PackedRows] = ()


def run_step(
    vlm: VLM,
    optimizer: torch.optim.Optimizer,
    step: int,
    phase: Mapping[str, Any],
    work: Step,
    images: Images,
    ranks: Ranks,
) -> dict[str, float | int]:
    """One optimiser step; returns its telemetry.

    The objective is the sum of token losses over the token count of the *whole* batch, all micro-batches and ranks
    together, so that neither the split nor the number of ranks changes it (Molmo, Deitke et al. 2024).

    Raises ``Diverged``.
    """
    began = time.perf_counter()
    schedule = phase["schedule"]
    factor = learning_rate_factor(
        step, phase["steps"], schedule["kind"], schedule["warmup_steps"], schedule["final_ratio"]
    )
    set_learning_rates(optimizer, component_factors(step, phase["steps"], schedule, COMPONENTS))
    counts = torch.tensor([sum(rows.supervised for rows in work.micro_batches)], dtype=torch.float64)
    supervised = int(ranks.sum(counts).item())
    loss_sum = torch.zeros(1, dtype=torch.float64)
    device = vlm.device
    tokens = sum(rows.tokens for rows in work.micro_batches)
    views = sum(len(rows.images) for rows in work.micro_batches)
    pictures = sum(rows.pictures for rows in work.micro_batches)
    for number, rows in enumerate(work.passes or work.micro_batches):
        with torch.autocast(device.type, torch.bfloat16, enabled=phase["precision"] == "bfloat16"):
            output = vlm(to_model_inputs(rows, images).to(device), label_smoothing=phase.get("label_smoothing", 0.0))
        assert output.loss is not None
        if number < len(work.micro_batches):
            (output.loss / supervised).backward()
            loss_sum += output.loss.detach().double().cpu()
        else:
            (output.loss * 0.0).backward()
    ranks.sum_gradients(parameter for group in optimizer.param_groups for parameter in group["params"])
    loss = float(ranks.sum(loss_sum).item()) / supervised
    norms = gradient_norms(optimizer)
    if not math.isfinite(loss):
        raise Diverged(step, "the loss")
    if not math.isfinite(norms["total"]):
        raise Diverged(step, "the gradient")
    clip_gradients(optimizer, norms["total"], phase["clip_norm"])
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    totals = ranks.sum(torch.tensor([tokens, views, pictures, work.flops], dtype=torch.float64))
    tokens, views, pictures, flops = (int(value) for value in totals.tolist())
    return {
        "step": step,
        "loss": loss,
        "learning_rate_factor": factor,
        **{f"gradient_norm_{name}": value for name, value in norms.items()},
        "tokens": tokens,
        "text_tokens": tokens - views * vlm.placeholders_per_image,
        "visual_tokens": views * vlm.connector.num_tokens,
        "supervised_tokens": supervised,
        "images": pictures,
        "flops": flops,
        "seconds": time.perf_counter() - began,
    }


def run_steps(
    vlm: VLM,
    optimizer: torch.optim.Optimizer,
    phase: Mapping[str, Any],
    work: Callable[[int], Step],
    images: Images,
    telemetry: Telemetry,
    after_step: Callable[[int], None],
    ranks: Ranks | None = None,
    seed: int = 0,
) -> None:
    """All steps that ``telemetry`` does not hold yet; ``after_step`` (step number) reports and saves.

    ``seed``: of the dropout of all ranks but the first.

    Raises ``Diverged``.
    """
    vlm.train()
    ranks = ranks or Ranks.current()
    for step in range(len(telemetry.rows), phase["steps"]):
        ranks.seed_step(seed, step)
        telemetry.record(**run_step(vlm, optimizer, step, phase, work(step), images, ranks))
        after_step(step)
