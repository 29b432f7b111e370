"""Was trained what was declared? What a run checks about itself, on the model's side.

Silent failures this is for: a tower under ``no_grad`` that was declared trainable, a freeze that was a no-op, LoRA on
layers nobody meant, parameters the optimiser never saw, images whose tokens were cut off, loss on placeholders, and
parameters that plans and tables count otherwise than the model has them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from harness.models.flops import Tuned, VLMCosts
from harness.models.inputs import IGNORED, ModelInputs
from harness.models.settings import COMPONENTS, Component, Tuning
from harness.models.tuning import adapter_targets, component_of, declared_trainable
from harness.models.vlm import VLM


@dataclass(frozen=True)
class TuningAudit:
    """Declared against observed; ``problems`` is empty when a run did what it said."""

    declared: tuple[str, ...]
    changed: tuple[str, ...]
    adapter_targets: tuple[str, ...]
    problems: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """For ``audit.json``."""
        return asdict(self)


def parameter_digests(vlm: VLM) -> dict[str, str]:
    """A digest of the bits of every parameter, tied ones under each of their names."""
    return {
        name: hashlib.sha256(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()
        for name, parameter in vlm.named_parameters(remove_duplicate=False)
    }


def weights_digest(vlm: VLM) -> str:
    """One digest of all parameters and their names."""
    return hashlib.sha256(repr(sorted(parameter_digests(vlm).items())).encode()).hexdigest()


def audit_tuning(
    vlm: VLM, before: Mapping[str, str], tuning: Tuning, optimizer: torch.optim.Optimizer | None = None
) -> TuningAudit:
    """Compare what ``tuning`` declares with what changed since ``before`` and with what the optimiser holds.

    ``tuning`` is the spec's, not what the model says of itself: that would agree with whatever was done to it.
    """
    declared = declared_trainable(vlm, tuning)
    tied = {source: target for target, source in vlm.all_tied_weights_keys.items()}
    declared |= {tied[name] for name in declared if name in tied}
    after = parameter_digests(vlm)
    changed = {name for name, digest in after.items() if before.get(name) != digest}
    problems = [f"{name} was declared trainable and did not change" for name in sorted(declared - changed)]
    problems += [f"{name} changed and was not declared trainable" for name in sorted(changed - declared)]
    problems += [f"{name} disappeared" for name in sorted(set(before) - set(after))]
    if optimizer is not None:
        problems += optimizer_problems(vlm, optimizer)
    targets = [
        target
        for name in COMPONENTS
        if tuning[name] in ("lora", "dora")
        for target in adapter_targets(vlm, name, tuning.depths(name))
    ]
    return TuningAudit(tuple(sorted(declared)), tuple(sorted(changed)), tuple(targets), tuple(problems))


def optimizer_problems(vlm: VLM, optimizer: torch.optim.Optimizer) -> list[str]:
    """Trainable parameters that are not in exactly one group, and parameters in a group that are not trainable."""
    held = Counter(id(parameter) for group in optimizer.param_groups for parameter in group["params"])
    known = {id(parameter) for parameter in vlm.parameters()}
    problems = []
    for name, parameter in vlm.named_parameters():
        times = held[id(parameter)]
        if parameter.requires_grad and times != 1:
            problems.append(f"{name} is trainable and in {times} optimiser groups")
        elif not parameter.requires_grad and times:
            problems.append(f"{name} is frozen and in an optimiser group")
    strangers = sum(times for parameter, times in held.items() if parameter not in known)
    if strangers:
        problems.append(f"the optimiser holds {strangers} parameters that are not the model's")
    return problems


def count_problems(vlm: VLM, vision: Mapping[str, Any], language: Mapping[str, Any]) -> list[str]:
    """Where the parameters of a model are not those that a plan counts from the ``config.json`` of its backbones."""
    config = vlm.config
    costs = VLMCosts(
        vision,
        language,
        config.connector_settings,
        config.fusion_settings,
        config.image_size,
        config.experts_settings,
    )
    counted = costs.parameters(Tuned.of(config.tuning_settings, before=config.adapter_settings))
    described: dict[Component, str] = {
        "vision": f"families/{config.vision_config.model_type}.py",
        "connector": "connectors/descriptions.py",
        "language": f"families/{config.text_config.model_type}.py",
        "fusion": "architecture.py",
        "experts": "experts/descriptions.py",
    }
    problems = []
    for component in COMPONENTS:
        own = [each for name, each in vlm.named_parameters() if component_of(name) == component]
        everything = sum(each.numel() for each in own)
        trained = sum(each.numel() for each in own if each.requires_grad)
        found = (("parameters", counted.all, everything), ("trained parameters", counted.trainable, trained))
        problems += [
            f"{component}: {count[component]:,} {what} are counted, the model has {real:,}: correct "
            f"harness/models/{described[component]}"
            for what, count, real in found
            if count[component] != real
        ]
    return problems


def input_problems(vlm: VLM, inputs: ModelInputs) -> list[str]:
    """What is wrong with a batch: placeholders without features, labels where there is nothing to predict."""
    problems = []
    is_image = inputs.input_ids == vlm.config.image_token_id
    count = 0 if inputs.images is None else len(inputs.images)
    placeholders = int(is_image.sum())
    if placeholders != count * vlm.placeholders_per_image:
        problems.append(f"{placeholders} placeholders for {count} images of {vlm.placeholders_per_image} tokens")
    if (is_image & (inputs.document_ids == 0)).any():
        problems.append("a placeholder lies in the padding")
    if inputs.labels is not None:
        labelled = inputs.labels != IGNORED
        if (labelled & is_image).any():
            problems.append("a label lies on an image placeholder")
        if (labelled & (inputs.document_ids == 0)).any():
            problems.append("a label lies on padding")
        first = torch.ones_like(labelled)
        first[:, 1:] = inputs.document_ids[:, 1:] != inputs.document_ids[:, :-1]
        if (labelled & first).any():
            problems.append("a label lies on the first token of a document, which nothing predicts")
        if (labelled & (inputs.labels != inputs.input_ids)).any():
            problems.append("a label differs from the token at its position")
    return problems
