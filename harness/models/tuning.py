"""Which parameters learn: nothing, adapters, norms or everything, for each component and range of its layers.

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
from harness.models.adaptors import Adaptors
from harness.models.architecture import require_place_for_adaptors
from harness.models.seeding import generator
from harness.models.settings import (
    BACKBONES,
    COMPONENTS,
    Adapters,
    AdaptorSettings,
    Component,
    Depths,
    LoraSettings,
    Tuning,
    within,
)

_IS_LORA = re.compile(r"\.lora_(?:[AB]|magnitude_vector)\.")
_ADAPTORS = "adaptors"


def adapter_targets(model: nn.Module, component: Component, depths: Depths | None = None) -> list[str]:
    """Full paths of the linear layers of a component that LoRA adapts: all of them except the output head.

    ``depths``: only those in a range of layers.
    """
    module = model.get_submodule(component)
    head = _output_head(module)
    adapted = {name for name, child in module.named_modules() if isinstance(child, LoraLayer)}
    layers = _layers_of(module)
    return [
        f"{component}.{name}"
        for name, child in module.named_modules()
        if name in adapted
        or (isinstance(child, nn.Linear) and child is not head and name.rpartition(".base_layer")[0] not in adapted)
        if not _IS_LORA.search(f".{name}.") and not name.startswith(f"{_ADAPTORS}.")
        if depths is None or within(depths, _layer_of(name, layers), len(layers))
    ]


def inject_adapters(model: nn.Module, adapters: Mapping[Component, Adapters]) -> None:
    """Give components their adapters; the weights of these are about to be drawn or loaded."""
    for component in COMPONENTS:
        settings = adapters.get(component)
        if isinstance(settings, LoraSettings):
            _inject_lora(model, component, settings)
        elif isinstance(settings, AdaptorSettings):
            backbone: Any = model.get_submodule(component)
            config = backbone.model.config
            if component == "language":
                require_place_for_adaptors(settings, config.to_dict())
            backbone.adaptors = Adaptors(backbone.layers, config.hidden_size, settings)
            if not len(backbone.adaptors):
                raise _empty(component, "adaptors")


def _inject_lora(model: nn.Module, component: Component, settings: LoraSettings) -> None:
    targets = adapter_targets(model, component, settings.depths)
    if not targets:
        raise _empty(component, "LoRA")
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # peft divides it by r: any number
        lora_dropout=settings.dropout,
        use_dora=settings.magnitudes,
        # As a regular expression, which peft matches against the whole path; a list would also match suffixes.
        target_modules="|".join(re.escape(target.removeprefix(f"{component}.")) for target in targets),
    )
    # Into the component, not the whole model: nothing outside it is even looked at.
    inject_adapter_in_model(config, model.get_submodule(component))
    for name, module in model.get_submodule(component).named_modules():
        if _IS_LORA.search(f".{name}."):
            # Or transformers would give them the family's initialisation, and B would not start at zero.
            module._is_hf_initialized = True


def _empty(component: Component, what: str) -> HarnessError:
    return HarnessError(
        f"{component} has no layer for {what}", remedy=f"tune {component} fully or freeze it, or widen its layers"
    )


def initialise_adapters(model: nn.Module, component: Component, seed: int) -> None:
    """Start adapters so that the model is unchanged: LoRA's A is drawn by name, U(±1/√fan_in), and its B is zero."""
    backbone = model.get_submodule(component)
    adaptors = getattr(backbone, _ADAPTORS, None)
    if isinstance(adaptors, Adaptors):
        adaptors.initialise(seed, f"{component}.{_ADAPTORS}")
    for name, parameter in backbone.named_parameters(prefix=component):
        if ".lora_A." in name:
            bound = parameter.shape[1] ** -0.5
            nn.init.uniform_(parameter, -bound, bound, generator(seed, name))
        elif ".lora_B." in name:
            nn.init.zeros_(parameter)


def set_tuning(
    model: Any, tuning: Tuning, lora: LoraSettings, seed: int, adaptor: AdaptorSettings | None = None
) -> None:
    """Bring a VLM into the tuning of a phase: new adapters where they are needed, and who receives gradients.

    Adapters of an earlier phase stay and keep their weights; a phase may freeze them but not change their size or
    train the layers under them. Recorded in the model's config, so that it is saved with it.
    """
    existing = model.config.adapter_settings
    fresh: dict[Component, Adapters] = {}
    for component in COMPONENTS:
        asked = tuning.adapters(component, lora, adaptor or AdaptorSettings())
        if component not in existing:
            if asked is not None:
                fresh[component] = asked
        elif tuning[component] in ("full", "norm"):
            raise HarnessError(
                f"{component} carries adapters of an earlier phase and cannot be tuned by {tuning[component]} now",
                remedy="tune it by its adapters or keep it frozen in the later phases",
            )
        elif asked is not None and asked != existing[component]:
            raise HarnessError(
                f"{component} carries adapters of {existing[component]}, this phase asks for {asked}",
                remedy="keep the settings of adapters, and the layers that have them, equal in all phases",
            )
    inject_adapters(model, fresh)
    for component in COMPONENTS:
        if component in fresh:
            initialise_adapters(model, component, seed)
    model.config.adapters = {**model.config.adapters, **{name: _plain(settings) for name, settings in fresh.items()}}
    model.config.tuning = asdict(tuning)
    apply_tuning(model, tuning)


def _plain(settings: Adapters) -> dict[str, Any]:
    values = asdict(settings)
    return values | {"depths": None if settings.depths is None else list(settings.depths)}


def apply_tuning(model: Any, tuning: Tuning) -> None:
    """Let exactly the parameters that the tuning declares require gradients."""
    declared = declared_trainable(model, tuning)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in declared)
    model.train(model.training)


def declared_trainable(model: Any, tuning: Tuning) -> set[str]:
    """Names of the parameters that the tuning declares trainable, from names alone (not from ``requires_grad``)."""
    unused = {f"vision.{name}" for name in model.vision.frozen_for_good()}
    norms = {component: _norms(model.get_submodule(component)) for component in BACKBONES}
    layers = {component: _layers_of(model.get_submodule(component)) for component in COMPONENTS}
    declared = set()
    for name, _ in model.named_parameters():
        component = component_of(name)
        own = name.removeprefix(f"{component}.")
        is_adaptor = own.startswith(f"{_ADAPTORS}.")
        is_lora = _IS_LORA.search(name) is not None
        of_backbone = not is_adaptor and not is_lora
        mode = tuning.mode(component, _layer_of(own, layers[component]), len(layers[component]))
        if (
            (mode == "full" and name not in unused)
            or (mode in ("lora", "dora") and is_lora)
            or (mode == "adaptor" and is_adaptor)
            or (mode == "norm" and of_backbone and own.rpartition(".")[0] in norms[component])
        ):
            declared.add(name)
    return declared


def _norms(backbone: nn.Module) -> set[str]:
    """Names of the normalisation modules."""
    return {name for name, module in backbone.named_modules() if type(module).__name__.endswith("Norm")}


def _layers_of(module: nn.Module) -> list[str]:
    """The names of a backbone's layers, in order; a component without layers has none."""
    layers = list(getattr(module, "layers", ())) if hasattr(module, "model") else []
    names = {id(child): name for name, child in module.named_modules()}
    return [names[id(layer)] for layer in layers]


def _layer_of(name: str, layers: list[str]) -> int | None:
    """The number of the layer that a parameter or module of a backbone lies in, None outside the layers."""
    if name.startswith(f"{_ADAPTORS}."):
        return int(name.split(".")[1].split("_")[0])
    return next((index for index, layer in enumerate(layers) if name == layer or name.startswith(f"{layer}.")), None)


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
