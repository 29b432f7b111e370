"""Which parameters learn: ``frozen``, ``lora`` or ``full`` for each component.

Adapters are part of a model's structure. They are injected when the model is built, before any weight is loaded,
because a model saved with adapters and rebuilt without them loads the wrong weights silently. Which linear layers get
one is decided by full module paths: a bare name such as ``q_proj`` would match encoder, perceiver and language model
at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn

from harness.errors import HarnessError
from harness.models.seeding import generator
from harness.models.settings import COMPONENTS, Component, LoraSettings, Tuning

_IS_ADAPTER = re.compile(r"\.lora_[AB]\.")


def adapter_targets(model: nn.Module, component: Component) -> list[str]:
    """Full paths of the linear layers of a component that LoRA adapts: all of them except the output head."""
    module = model.get_submodule(component)
    head = _output_head(module)
    adapted = {name for name, child in module.named_modules() if isinstance(child, LoraLayer)}
    return [
        f"{component}.{name}"
        for name, child in module.named_modules()
        if name in adapted
        or (isinstance(child, nn.Linear) and child is not head and name.rpartition(".base_layer")[0] not in adapted)
        if not _IS_ADAPTER.search(f".{name}.")
    ]


def inject_adapters(model: nn.Module, adapters: Mapping[str, LoraSettings]) -> None:
    """Give the linear layers of each component its LoRA adapters; their weights are about to be drawn or loaded."""
    for component in COMPONENTS:
        if component not in adapters:
            continue
        settings = adapters[component]
        targets = adapter_targets(model, component)
        if not targets:
            raise HarnessError(
                f"{component} has no linear layer for LoRA", remedy=f"tune {component} fully or freeze it"
            )
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,  # type: ignore[arg-type]  # peft divides it by r: any number
            lora_dropout=settings.dropout,
            # As a regular expression, which peft matches against the whole path; a list would also match suffixes.
            target_modules="|".join(re.escape(target.removeprefix(f"{component}.")) for target in targets),
        )
        # Into the component, not the whole model: nothing outside it is even looked at.
        inject_adapter_in_model(config, model.get_submodule(component))
        for name, module in model.get_submodule(component).named_modules():
            if _IS_ADAPTER.search(f".{name}."):
                # Or transformers would give them the family's initialisation, and B would not start at zero.
                module._is_hf_initialized = True


def initialise_adapters(model: nn.Module, component: Component, seed: int) -> None:
    """Start adapters as in the paper: A is drawn by name, U(±1/√fan_in); B is zero: the model is unchanged."""
    for name, parameter in model.get_submodule(component).named_parameters(prefix=component):
        if ".lora_A." in name:
            bound = parameter.shape[1] ** -0.5
            nn.init.uniform_(parameter, -bound, bound, generator(seed, name))
        elif ".lora_B." in name:
            nn.init.zeros_(parameter)


def set_tuning(model: Any, tuning: Tuning, lora: LoraSettings, seed: int) -> None:
    """Bring a VLM into the tuning of a phase: new adapters where they are needed, and who receives gradients.

    Adapters of an earlier phase stay and keep their weights; a phase may freeze them but not change their size or
    train the layers under them. Recorded in the model's config, so that it is saved with it.
    """
    existing = model.config.adapter_settings
    fresh: dict[str, LoraSettings] = {}
    for component in COMPONENTS:
        mode = tuning[component]
        if component in existing and mode == "full":
            raise HarnessError(
                f"{component} carries LoRA adapters of an earlier phase and cannot be tuned fully now",
                remedy="tune it with lora or keep it frozen in the later phases",
            )
        if mode == "lora" and component not in existing:
            fresh[component] = lora
        if mode == "lora" and existing.get(component, lora) != lora:
            raise HarnessError(
                f"{component} carries LoRA adapters of {existing[component]}, this phase asks for {lora}",
                remedy="keep the lora settings of all phases equal",
            )
    inject_adapters(model, fresh)
    for component in COMPONENTS:
        if component in fresh:
            initialise_adapters(model, component, seed)
    model.config.adapters = {**model.config.adapters, **{name: asdict(lora) for name in fresh}}
    model.config.tuning = asdict(tuning)
    apply_tuning(model, tuning)


def apply_tuning(model: Any, tuning: Tuning) -> None:
    """Let exactly the parameters that the tuning declares require gradients."""
    declared = declared_trainable(model, tuning)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in declared)
    model.train(model.training)


def declared_trainable(model: Any, tuning: Tuning) -> set[str]:
    """Names of the parameters that the tuning declares trainable, from names alone (not from ``requires_grad``)."""
    unused = {f"vision.{name}" for name in model.vision.frozen_for_good()}
    declared = set()
    for name, _ in model.named_parameters():
        mode = tuning[component_of(name)]
        if (mode == "full" and name not in unused) or (mode == "lora" and _IS_ADAPTER.search(name)):
            declared.add(name)
    return declared


def component_of(name: str) -> Component:
    """The component that a parameter of a VLM belongs to, by the first part of its name."""
    head = name.split(".", 1)[0]
    for component in COMPONENTS:
        if head == component:
            return component
    raise ValueError(f"parameter {name} belongs to no component")


def _output_head(module: nn.Module) -> nn.Module | None:
    inner = getattr(module, "model", None)
    get = getattr(inner, "get_output_embeddings", None)
    return get() if get is not None else None
