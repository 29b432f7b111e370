"""Analytic counts equal what torch counts on the real modules."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from harness.errors import HarnessError
from harness.models import VLM, ModelInputs, architecture, load_vlm, operations
from harness.models.architecture import Workload
from harness.models.flops import ByComponent, Tuned, VLMCosts
from harness.models.settings import COMPONENTS, AdaptorSettings, LoraSettings, Tuning
from harness.models.tuning import component_of, set_tuning
from harness.spec.connectors import CONNECTORS

from .tiny import (
    FUSIONS,
    images,
    language_configs,
    model_section,
    pack,
    pixels,
    vision_configs,
    with_image,
    words,
    write_language,
    write_vision,
)

LORA = LoraSettings(rank=3)
LENGTHS, IMAGES = (11, 11, 11), 3


def costs_of(model: dict[str, Any], vision: Path, language: Path) -> VLMCosts:
    read = [json.loads((path / "config.json").read_text()) for path in (vision, language)]
    return VLMCosts.of(model, *read)


def inputs_of(costs: VLMCosts) -> tuple[ModelInputs, Workload]:
    documents = [with_image(costs.placeholders, document) for document in words(*LENGTHS)]
    inputs = pack([[document] for document in documents], images(IMAGES), labelled=True)
    supervised = sum(length - 1 for length in LENGTHS)
    return inputs, Workload(tuple(len(document) for document in documents), IMAGES, supervised)


def convolution_backward(gradient: Any, given: Any, weight: Any, *others: Any, **_: Any) -> int:
    """As many FLOPs as forward for either factor's gradient; torch counts a depthwise kernel's as if it were dense."""
    output_mask = others[7]
    return 2 * prod(gradient) * prod(weight[1:]) * (output_mask[0] + output_mask[1])


def training_flops(vlm: VLM, inputs: ModelInputs) -> int:
    """FLOPs of one training step as torch counts them, attention as plain products."""
    corrected = {torch.ops.aten.convolution_backward: convolution_backward}
    with FlopCounterMode(display=False, custom_mapping=corrected) as counter, sdpa_kernel(SDPBackend.MATH):
        output = vlm.train()(inputs)
        if output.loss.requires_grad:
            output.loss.backward()
    return counter.get_total_flops()


def forward_flops(vlm: VLM, inputs: ModelInputs) -> ByComponent:
    """FLOPs of one forward by component. (In backward torch attributes products to the wrong modules.)"""
    vlm.requires_grad_(False)
    with FlopCounterMode(display=False, depth=2) as counter, sdpa_kernel(SDPBackend.MATH):
        vlm(inputs)
    counts = {name: sum(flops.values()) for name, flops in counter.get_flop_counts().items()}
    return ByComponent(**{name: counts.get(f"{type(vlm).__name__}.{name}", 0) for name in COMPONENTS})


@pytest.fixture(autouse=True)
def torch_counts_whole_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architecture, "_visible_pairs", lambda length, window: length * length)


def check(vlm: VLM, costs: VLMCosts, tuning: Tuning, adaptor: AdaptorSettings | None = None) -> None:
    tuned = Tuned.of(tuning, LORA, adaptor)
    parameters = costs.parameters(tuned)
    for component in COMPONENTS:
        own = [p for name, p in vlm.named_parameters() if component_of(name) == component]
        assert parameters.all[component] == sum(p.numel() for p in own), component
        assert parameters.trainable[component] == sum(p.numel() for p in own if p.requires_grad), component
    inputs, workload = inputs_of(costs)
    assert costs.training_flops(workload, tuned).total == training_flops(vlm, inputs)
    if not tuned.adapters:
        expected = costs.forward_flops(workload)
        # Torch attributes the blocks of cross-attention to the language model, experts to the encoder: inside which
        # they run.
        expected = replace(expected, language=expected.language + expected.fusion, fusion=0)
        expected = replace(expected, vision=expected.vision + expected.experts)
        assert expected == forward_flops(vlm, inputs)


TUNINGS = [
    Tuning("frozen", "frozen", "frozen"),
    Tuning("frozen", "full", "frozen"),
    Tuning("frozen", "full", "lora"),
    Tuning("frozen", "full", "full"),
    Tuning("frozen", "lora", "frozen"),
    Tuning("frozen", "frozen", "lora"),
    Tuning("lora", "frozen", "frozen"),
    Tuning("lora", "lora", "lora"),
    Tuning("full", "frozen", "lora"),
    Tuning("full", "full", "full"),
]
# All of them for the connector with the most paths, those that differ in the connector itself for the others.
CASES = [("perceiver", tuning) for tuning in TUNINGS] + [
    (kind, tuning) for kind in ("linear", "mlp", "average_pool") for tuning in (TUNINGS[3], TUNINGS[4], TUNINGS[9])
]


@pytest.mark.parametrize(
    ("kind", "tuning"),
    CASES,
    ids=lambda value: value if isinstance(value, str) else "-".join(value[component] for component in COMPONENTS),
)
def test_every_connector_and_tuning(kind: str, tuning: Tuning, backbones: tuple[Path, Path]) -> None:
    model = model_section(kind)
    vlm = load_vlm(model, 0, *backbones)
    set_tuning(vlm, tuning, LORA, 0)
    check(vlm, costs_of(model, *backbones), tuning)


@pytest.mark.parametrize("kind", CONNECTORS)
def test_hidden_layer_and_output_norm_are_counted(kind: str, backbones: tuple[Path, Path]) -> None:
    model = model_section(kind)
    model["connector"] |= {"hidden_size": 40, "output_norm": 8.0}
    tuning = Tuning("frozen", "full", "full")
    vlm = load_vlm(model, 0, *backbones)
    set_tuning(vlm, tuning, LORA, 0)
    check(vlm, costs_of(model, *backbones), tuning)


HALVES = {"vision_layers": (0.5, 1.0), "language_layers": (0.0, 0.5)}


@pytest.mark.parametrize(
    ("tuning", "adaptor"),
    [
        (Tuning("frozen", "full", "dora"), None),
        (Tuning("dora", "dora", "dora"), None),
        (Tuning("norm", "full", "norm"), None),
        (Tuning("norm", "frozen", "frozen"), None),
        (Tuning("full", "full", "full", **HALVES), None),
        (Tuning("lora", "full", "dora", **HALVES), None),
        (Tuning("frozen", "frozen", "lora", **HALVES), None),
        (Tuning("norm", "full", "full", **HALVES), None),
        (Tuning("adaptor", "full", "adaptor"), AdaptorSettings()),
        (Tuning("adaptor", "frozen", "frozen"), AdaptorSettings(0.5, "both", gated=True)),
        (Tuning("frozen", "full", "adaptor", **HALVES), AdaptorSettings(0.25, "feed_forward")),
    ],
    ids=lambda value: (
        str(value) if isinstance(value, AdaptorSettings | None) else "-".join(value[c] for c in COMPONENTS)
    ),
)
@pytest.mark.parametrize("fusion", ["autoregressive", "delimited", "flamingo"])
def test_every_other_tuning(
    fusion: str, tuning: Tuning, adaptor: AdaptorSettings | None, backbones: tuple[Path, Path]
) -> None:
    model = model_section("perceiver", fusion=FUSIONS[fusion])
    vlm = load_vlm(model, 0, *backbones)
    set_tuning(vlm, tuning, LORA, 0, adaptor)
    check(vlm, costs_of(model, *backbones), tuning, adaptor)


CROSS_ATTENTION_TUNINGS = [
    Tuning("frozen", "frozen", "frozen", "frozen"),
    Tuning("frozen", "full", "frozen", "full"),
    Tuning("frozen", "frozen", "frozen", "full"),
    Tuning("frozen", "full", "frozen", "frozen"),
    Tuning("full", "frozen", "frozen", "frozen"),
    Tuning("frozen", "full", "lora", "lora"),
    Tuning("frozen", "lora", "full", "full"),
    Tuning("full", "full", "full", "full"),
]


@pytest.mark.parametrize("changes", [{}, {"feed_forward": False}, {"cross_attn_every": 1}], ids=str)
@pytest.mark.parametrize("tuning", CROSS_ATTENTION_TUNINGS, ids=lambda tuning: "-".join(tuning[c] for c in COMPONENTS))
@pytest.mark.parametrize("fusion", ["flamingo", "idefics"])
def test_every_cross_attention(
    fusion: str, tuning: Tuning, changes: dict[str, Any], backbones: tuple[Path, Path]
) -> None:
    model = model_section("perceiver", fusion=FUSIONS[fusion] | changes)
    vlm = load_vlm(model, 0, *backbones)
    set_tuning(vlm, tuning, LORA, 0)
    check(vlm, costs_of(model, *backbones), tuning)


@pytest.mark.parametrize("family", language_configs())
def test_every_language_family_with_cross_attention(family: str, backbones: tuple[Path, Path], tmp_path: Path) -> None:
    language = write_language(tmp_path, language_configs()[family])
    model = model_section(fusion=FUSIONS["idefics"])
    for tuning in (Tuning("frozen", "full", "frozen"), Tuning("frozen", "full", "full")):
        vlm = load_vlm(model, 0, backbones[0], language)
        set_tuning(vlm, tuning, LORA, 0)
        check(vlm, costs_of(model, backbones[0], language), tuning)


@pytest.mark.parametrize("last_only", [True, False])
@pytest.mark.parametrize(("length", "images"), [(6, 1), (6, 2), (6, 3), (6, 0)])
def test_visible_images_equal_brute_force(length: int, images: int, last_only: bool) -> None:
    """Images at equal distances, the first at the beginning."""
    places = [number * length // images for number in range(images)]
    seen = [sum(place <= token for place in places) for token in range(length)]
    expected = sum(min(count, 1) if last_only else count for count in seen)
    assert Workload((length,), images, 0).image_pairs(last_only) == expected


@pytest.mark.parametrize("family", language_configs())
def test_every_language_family(family: str, backbones: tuple[Path, Path], tmp_path: Path) -> None:
    language = write_language(tmp_path, language_configs()[family])
    parallel = architecture.side_by_side(language_configs()[family].to_dict())
    adaptor = AdaptorSettings(placement="feed_forward" if parallel else "both")
    for mode in ("full", "lora", "norm", "adaptor"):
        tuning = Tuning("frozen", "frozen", mode)
        vlm = load_vlm(model_section(), 0, backbones[0], language)
        set_tuning(vlm, tuning, LORA, 0, adaptor)
        check(vlm, costs_of(model_section(), backbones[0], language), tuning, adaptor)


@pytest.mark.parametrize("family", vision_configs())
def test_every_vision_family(family: str, backbones: tuple[Path, Path], tmp_path: Path) -> None:
    vision = write_vision(tmp_path, vision_configs()[family])
    for mode in ("full", "lora", "norm", "adaptor"):
        tuning = Tuning(mode, "frozen", "frozen")
        vlm = load_vlm(model_section(), 0, vision, backbones[1])
        set_tuning(vlm, tuning, LORA, 0, AdaptorSettings(placement="both"))
        check(vlm, costs_of(model_section(), vision, backbones[1]), tuning, AdaptorSettings(placement="both"))


def test_a_larger_image_costs_more_patches_but_no_parameters(backbones: tuple[Path, Path]) -> None:
    model = model_section(image={"size": 48})
    vlm = load_vlm(model, 0, *backbones)
    costs, small = costs_of(model, *backbones), costs_of(model_section(), *backbones)
    everything = Tuned(Tuning("full", "full", "full"))
    assert costs.parameters(everything) == small.parameters(everything)
    inputs = pixels(2, 48)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        vlm.vision(inputs)
    assert counter.get_total_flops() == costs.forward_flops(Workload((1,), 2, 0)).vision


def test_cached_features_spare_the_encoder(backbones: tuple[Path, Path]) -> None:
    costs = costs_of(model_section(), *backbones)
    tuning, workload = Tuning("frozen", "full", "full"), Workload((20, 30), 2, 10)
    online = costs.training_flops(workload, Tuned.of(tuning, LORA))
    cached = costs.training_flops(workload, Tuned.of(tuning, LORA), cached_features=True)
    assert cached == ByComponent(0, online.connector, online.language)


def test_adapters_of_an_earlier_phase_still_count(backbones: tuple[Path, Path]) -> None:
    vlm = load_vlm(model_section(), 0, *backbones)
    set_tuning(vlm, Tuning("frozen", "full", "lora"), LORA, 0)
    later = Tuning("frozen", "full", "frozen")
    set_tuning(vlm, later, LORA, 0)
    costs = costs_of(model_section(), *backbones)
    tuned = Tuned.of(later, before={"language": LORA})
    counts = costs.parameters(tuned)
    assert counts.all.total == sum(p.numel() for p in vlm.parameters())
    assert counts.trainable.total == sum(p.numel() for p in vlm.parameters() if p.requires_grad)
    inputs, workload = inputs_of(costs)
    assert costs.training_flops(workload, tuned).total == training_flops(vlm, inputs)


def test_the_rules_of_three_two_and_one(backbones: tuple[Path, Path]) -> None:
    """The rule of thumb that the tables quote: trained 3F, frozen with gradient through it 2F, upstream of all 1F."""
    costs = costs_of(model_section(), *backbones)
    workload = Workload((50, 60), 2, 40)
    forward = costs.forward_flops(workload)
    trained = costs.training_flops(workload, Tuned(Tuning("frozen", "full", "full")))
    through = costs.training_flops(workload, Tuned(Tuning("frozen", "full", "frozen")))
    assert trained.vision == forward.vision
    assert trained.language == 3 * forward.language
    assert through.language < 3 * forward.language
    attention = sum(
        2 * operation.product
        for operation in architecture.language_operations(costs.language, workload)
        if isinstance(operation, operations.Attention)
    )
    assert through.language == 2 * (forward.language - attention) + 3 * attention
    # In the connector, the first layer needs no gradient for its input: 2F.
    first = 2 * 2 * 4 * 24 * 32
    assert trained.connector == 3 * forward.connector - first


def test_the_perceiver_of_idefics2_has_the_published_size() -> None:
    """740 M between SigLIP-SO400M and Mistral-7B (Idefics2, table 3 of the NeurIPS version); 743 M by its shapes."""
    vision = {"model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304,
              "num_hidden_layers": 27, "num_attention_heads": 16, "image_size": 384, "patch_size": 14}  # fmt: skip
    language = {"model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
                "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000}  # fmt: skip
    published = {"kind": "perceiver", "num_tokens": 64, "depth": 3, "num_heads": 16, "num_key_value_heads": 4,
                 "head_dim": 96, "mlp_ratio": 4}  # fmt: skip
    frozen = Tuning("frozen", "full", "frozen")
    costs = VLMCosts.of(model_section(image={"size": 384}, connector=published), vision, language)
    connector = costs.parameters(Tuned(frozen)).trainable.connector
    assert round(connector / 1e6) == 743
    assert connector == pytest.approx(740e6, rel=0.005)
    linear = model_section(image={"size": 384}, connector={**published, "modality_projection": "linear"})
    less = connector - VLMCosts.of(linear, vision, language).parameters(Tuned(frozen)).trainable.connector
    assert less == 2 * 1152 * 14336 + 14336 * 4096 - 1152 * 4096


@pytest.mark.parametrize("window", [None, 1, 3, 20])
@pytest.mark.parametrize("length", [0, 1, 7, 20])
def test_visible_pairs_equal_brute_force(length: int, window: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    seen = sum(q >= k and (window is None or q - k < window) for q in range(length) for k in range(length))
    assert Workload((length,), 0, 0).pairs(window) == seen


def test_published_configs_that_leave_defaults_out() -> None:
    """SigLIP-B/16 and Llama-2-7B as on the hub: 92.9 M without pooling head, and 6,738,415,616."""
    siglip = {"model_type": "siglip", "text_config": {}, "vision_config": {"model_type": "siglip_vision_model"}}
    llama = {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "vocab_size": 32000,
    }
    model = model_section("mlp", image={"size": 224})
    counts = VLMCosts.of(model, siglip, llama).parameters(Tuned(Tuning())).all
    assert counts.language == 6_738_415_616
    assert counts.vision == 85_797_120
    assert counts.connector == 768 * 4096 + 4096 + 4096 * 4096 + 4096


def test_unknown_families_are_named() -> None:
    costs = VLMCosts.of(model_section(), {"model_type": "swin"}, {"model_type": "llama"})
    with pytest.raises(HarnessError, match="swin"):
        _ = costs.visual_tokens


def test_counting_loads_no_torch() -> None:
    program = (
        "import sys, harness.models.flops; print(*(m for m in ('torch', 'transformers', 'numpy') if m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "\n"
