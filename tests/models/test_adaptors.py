"""Bottleneck adaptors: Prismer's, in the places they should have, in every family."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from harness.errors import HarnessError
from harness.models import VLM, load_vlm
from harness.models.adaptors import Adaptor
from harness.models.architecture import side_by_side
from harness.models.audit import audit_tuning, parameter_digests
from harness.models.backbones.source import layers_of
from harness.models.flops import Tuned, VLMCosts
from harness.models.settings import AdaptorSettings, LoraSettings, Tuning
from harness.models.tuning import set_tuning

from .tiny import (
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

LORA = LoraSettings(rank=2)
BOTH = Tuning("adaptor", "full", "adaptor")


def logits(vlm: VLM) -> Tensor:
    documents = [with_image(vlm.placeholders_per_image, document) for document in words(9, 6)]
    with torch.no_grad():
        return vlm(pack([documents], pixels(2))).logits


def disturb(vlm: VLM) -> None:
    """Let adaptors do something."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in vlm.named_parameters():
            if ".adaptors." in name:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def without_feed_forward(model: torch.nn.Module) -> None:
    """Feed-forward blocks that add nothing, so that a layer's end is the place after its attention."""
    with torch.no_grad():
        for name, module in model.named_modules():
            if name.endswith(("down_proj", "fc2", "dense_4h_to_h")):
                for parameter in module.parameters():
                    parameter.zero_()


def test_an_adaptor_is_prismers() -> None:
    reference = load_file(Path(__file__).parent / "fixtures" / "prismer_adaptor.safetensors")
    adaptor = Adaptor(12, 12, gated=False)
    names = {"norm": "adaptor_ln", "down": "adaptor.down_proj", "up": "adaptor.up_proj"}
    for ours, theirs in names.items():
        adaptor.get_submodule(ours).load_state_dict(
            {kind: reference[f"weights.{theirs}.{kind}"] for kind in ("weight", "bias")}
        )
    with torch.no_grad():
        torch.testing.assert_close(adaptor(reference["states"]), reference["output"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("placement", ["attention", "feed_forward", "both"])
def test_fresh_adaptors_change_nothing(placement: str, gated: bool, vlm: VLM) -> None:
    before = logits(vlm)
    set_tuning(vlm, BOTH, LORA, 0, AdaptorSettings(0.5, placement, gated))
    assert torch.equal(logits(vlm), before)
    disturb(vlm)
    assert not torch.allclose(logits(vlm), before)


PARALLEL = [name for name, config in language_configs().items() if side_by_side(config.to_dict())]
SEQUENTIAL = [name for name in language_configs() if name not in PARALLEL]


@pytest.mark.parametrize("family", language_configs())
def test_descriptions_say_whether_the_feed_forward_block_reads_what_attention_wrote(family: str) -> None:
    """By what changes for the linear layers outside attention when the attention of the first layer does."""
    model = AutoModelForCausalLM.from_config(language_configs()[family]).eval()
    layer = layers_of(model)[0]
    attention = next(module for module in layer.modules() if type(module).__name__.endswith("Attention"))
    outside = set(layer.modules()) - set(attention.modules())
    read: list[Tensor] = []
    for linear in outside:
        if isinstance(linear, torch.nn.Linear):
            linear.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    attended = torch.zeros(1, 6, 32)
    attention.register_forward_hook(lambda *_: (attended, None))
    with torch.no_grad():
        model(input_ids=words(6)[0][None])
        attended.copy_(torch.arange(32))
        model(input_ids=words(6)[0][None])
    one, other = read[: len(read) // 2], read[len(read) // 2 :]
    assert one
    assert all(map(torch.equal, one, other)) == (family in PARALLEL)


@pytest.mark.parametrize("family", SEQUENTIAL)
def test_between_attention_and_feed_forward_in_language_models(
    family: str, backbones: tuple[Path, Path], tmp_path: Path
) -> None:
    """With feed-forward blocks that add nothing both places are one."""
    language = write_language(tmp_path, language_configs()[family])
    outputs = []
    for placement in ("attention", "feed_forward"):
        vlm = load_vlm(model_section(), 0, backbones[0], language)
        without_feed_forward(vlm.language)
        plain = logits(vlm)
        set_tuning(vlm, Tuning("frozen", "full", "adaptor"), LORA, 0, AdaptorSettings(1.0, placement))
        with torch.no_grad():
            for name, parameter in vlm.named_parameters():
                if ".adaptors." in name:
                    parameter.copy_(torch.linspace(-0.5, 0.7, parameter.numel()).view_as(parameter))
        outputs.append(logits(vlm))
        assert not torch.allclose(outputs[-1], plain)
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", vision_configs())
def test_between_attention_and_feed_forward_in_encoders(
    family: str, backbones: tuple[Path, Path], tmp_path: Path
) -> None:
    vision = write_vision(tmp_path, vision_configs()[family])
    outputs = []
    for placement in ("attention", "feed_forward"):
        vlm = load_vlm(model_section(), 0, vision, backbones[1])
        without_feed_forward(vlm.vision)
        set_tuning(vlm, Tuning("adaptor", "full", "frozen"), LORA, 0, AdaptorSettings(1.0, placement))
        with torch.no_grad():
            plain = vlm.vision(pixels(1)).values
            for name, parameter in vlm.named_parameters():
                if ".adaptors." in name:
                    parameter.copy_(torch.linspace(-0.5, 0.7, parameter.numel()).view_as(parameter))
            outputs.append(vlm.vision(pixels(1)).values)
        assert not torch.allclose(outputs[-1], plain)
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", PARALLEL)
def test_side_by_side_blocks_have_no_place_between_them(
    family: str, backbones: tuple[Path, Path], tmp_path: Path
) -> None:
    """Neither in the model nor in a plan."""
    language, tuning = write_language(tmp_path, language_configs()[family]), Tuning("frozen", "full", "adaptor")
    vlm = load_vlm(model_section(), 0, backbones[0], language)
    with pytest.raises(HarnessError, match="side by side"):
        set_tuning(vlm, tuning, LORA, 0, AdaptorSettings())
    configs = [json.loads((path / "config.json").read_text()) for path in (backbones[0], language)]
    with pytest.raises(HarnessError, match="side by side"):
        VLMCosts.of(model_section(), *configs).parameters(Tuned.of(tuning, LORA, AdaptorSettings()))


def test_some_families_run_both_blocks_side_by_side() -> None:
    assert "gpt_neox" in PARALLEL
    assert "llama" in SEQUENTIAL


def test_a_copy_runs_its_own_adaptors(vlm: VLM) -> None:
    set_tuning(vlm, BOTH, LORA, 0, AdaptorSettings(placement="both"))
    before, copied = logits(vlm), deepcopy(vlm)
    disturb(copied)
    assert torch.equal(logits(vlm), before)
    assert not torch.allclose(logits(copied), before)


def test_adaptors_of_a_later_phase_stay_and_may_be_frozen(vlm: VLM, tmp_path: Path) -> None:
    settings = AdaptorSettings(0.5, "both")
    set_tuning(vlm, BOTH, LORA, 0, settings)
    disturb(vlm)
    expected = logits(vlm)
    vlm.save_pretrained(tmp_path)
    later = VLM.from_pretrained(tmp_path)
    set_tuning(later, Tuning("frozen", "full", "adaptor"), LORA, 1, settings)
    assert torch.equal(logits(later), expected)
    assert not any(p.requires_grad for p in later.vision.parameters())
    before = parameter_digests(later)
    optimizer = torch.optim.AdamW([p for _, _, p in later.trainable_parameters()], lr=1e-2)
    documents = [with_image(later.placeholders_per_image, document) for document in words(9, 6)]
    for _ in range(2):
        later.train()(pack([documents], pixels(2), labelled=True)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    audit = audit_tuning(later, before, Tuning("frozen", "full", "adaptor"), optimizer)
    assert audit.problems == ()
    with pytest.raises(HarnessError, match="carries adapters"):
        set_tuning(later, Tuning("frozen", "full", "lora"), LORA, 1)
    with pytest.raises(HarnessError, match="carries adapters"):
        set_tuning(later, BOTH, LORA, 1, AdaptorSettings(0.25, "both"))
