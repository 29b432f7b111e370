"""AdamW over the trainable parameters, one group a component and decay rule; every parameter in exactly one group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from harness.models.sharding import local


def peak_rates(learning_rate: Mapping[str, float | None]) -> dict[str, float]:
    """The peak rate of each component that is trained; the fusion's and the experts' own, or the connector's."""
    rates = {component: rate for component, rate in learning_rate.items() if rate is not None}
    if "connector" in rates:
        rates.setdefault("fusion", rates["connector"])
        rates.setdefault("experts", rates["connector"])
    return rates


def build_optimizer(
    parameters: Iterable[tuple[str, str, nn.Parameter]],
    learning_rates: Mapping[str, float],
    settings: Mapping[str, Any],
) -> torch.optim.AdamW:
    """``parameters``: (component, name, parameter) of all that is trained.

    Vectors (norms, biases, gates) are not decayed, as in GPT-3 (Brown et al. 2020) and OpenFlamingo. Each group keeps
    its peak rate as ``peak``; the loop scales it by the schedule.
    """
    decay_of = {name: value for name, value in (settings.get("weight_decay_of") or {}).items() if value is not None}
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for component, _, parameter in parameters:
        groups.setdefault((component, parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": members,
                "component": component,
                "peak": learning_rates[component],
                "lr": learning_rates[component],
                "weight_decay": decay_of.get(component, settings["weight_decay"]) if decayed else 0.0,
            }
            for (component, decayed), members in sorted(groups.items(), key=lambda item: item[0])
        ],
        betas=tuple(settings["betas"]),
        eps=settings["epsilon"],
        fused=True,
    )


def set_learning_rates(optimizer: torch.optim.Optimizer, factors: Mapping[str, float]) -> None:
    """Scale the peak rate of every group by the factor of its component."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factors[group["component"]]


def gradient_norms(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The Euclidean norm of the gradient of each component, and of all as ``total``.

    Of parameters that are split over ranks the norm of the whole: a collective.
    """
    squares: dict[str, float] = {}
    split = False
    for group in optimizer.param_groups:
        gradients = [parameter.grad for parameter in group["params"] if parameter.grad is not None]
        split = split or any(isinstance(gradient, DTensor) for gradient in gradients)
        if gradients:
            norms = torch.stack(torch._foreach_norm([local(gradient) for gradient in gradients]))
            squares[group["component"]] = squares.get(group["component"], 0.0) + float((norms.double() ** 2).sum())
    if split:
        summed = torch.tensor(list(squares.values()), dtype=torch.float64)
        dist.all_reduce(summed)
        squares = dict(zip(squares, summed.tolist(), strict=True))
    norms_by_component = {component: value**0.5 for component, value in squares.items()}
    return {**norms_by_component, "total": sum(squares.values()) ** 0.5}


def clip_gradients(optimizer: torch.optim.Optimizer, total: float, limit: float) -> None:
    """Scale all gradients so that their common norm is at most ``limit``."""
    if total > limit:
        factor = limit / (total + 1e-6)
        torch._foreach_mul_(
            [local(p.grad) for group in optimizer.param_groups for p in group["params"] if p.grad is not None], factor
        )
