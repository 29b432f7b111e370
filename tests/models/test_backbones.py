"""Loading encoders and language models of several families, and refusing what cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, SiglipConfig, SiglipModel

from harness.errors import HarnessError
from harness.models import VLM, load_vlm
from harness.models.backbones.language import LanguageBackbone
from harness.models.backbones.vision import VisionBackbone
from harness.models.families import vision_family
from harness.models.quiet import quiet_transformers

from . import tiny
from .tiny import language_configs, model_section, pixels, vision_configs, write_language, write_vision


def test_families_that_are_added_are_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "VISION", (*tiny.VISION, "deit"))
    monkeypatch.setattr(tiny, "LANGUAGE", (*tiny.LANGUAGE, "phi"))
    assert vision_configs()["deit"].patch_size == 8
    assert language_configs()["phi"].hidden_size == 32


@pytest.mark.parametrize("family", vision_configs())
def test_features_are_the_patches_of_the_last_hidden_state(family: str, tmp_path: Path) -> None:
    backbone = VisionBackbone.from_pretrained(write_vision(tmp_path, vision_configs()[family]), 32).eval()
    with quiet_transformers():
        reference = AutoModel.from_pretrained(tmp_path).eval()
    images = pixels(2)
    with torch.no_grad():
        seen = backbone(images)
        expected = reference(pixel_values=images).last_hidden_state
    assert seen.grid == (4, 4)
    assert seen.mask is None
    extra = vision_family(vision_configs()[family].model_type).class_tokens
    assert expected.shape[1] == 16 + extra
    assert torch.equal(seen.values, expected[:, extra:])


@pytest.mark.parametrize("family", vision_configs())
def test_patches_are_row_by_row(family: str, tmp_path: Path) -> None:
    """A change in one patch of the input is largest at that patch of the output (position embeddings aside)."""
    backbone = VisionBackbone.from_pretrained(write_vision(tmp_path, vision_configs()[family]), 32).eval()
    image = pixels(1)
    changed = image.clone()
    changed[:, :, 8:16, 16:24] += 3  # row 1, column 2
    with torch.no_grad():
        difference = (backbone(image).values - backbone(changed).values).norm(dim=-1)[0]
    assert difference.argmax() == 1 * 4 + 2


@pytest.mark.parametrize("family", vision_configs())
def test_other_image_sizes_interpolate_positions(family: str, tmp_path: Path) -> None:
    write_vision(tmp_path, vision_configs()[family])
    backbone = VisionBackbone.from_pretrained(tmp_path, 48).eval()
    with torch.no_grad():
        assert backbone(pixels(1, 48)).values.shape == (1, 36, 24)
    with pytest.raises(ValueError, match="image_size 48"):
        backbone(pixels(1, 32))


def test_the_vision_half_of_a_two_tower_model(tmp_path: Path) -> None:
    half = vision_configs()["siglip"].to_dict()
    text = {
        "hidden_size": 24,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 8,
    }
    whole = SiglipModel(SiglipConfig(vision_config=half, text_config=text)).eval()
    with quiet_transformers():
        whole.save_pretrained(tmp_path)
    backbone = VisionBackbone.from_pretrained(tmp_path, 32).eval()
    with torch.no_grad():
        expected = whole.vision_model(pixel_values=pixels(1)).last_hidden_state
        assert torch.equal(backbone(pixels(1)).values, expected)


def test_half_precision_weights_are_kept_in_single(tmp_path: Path) -> None:
    write_vision(tmp_path)
    weights = {name: value.half() for name, value in load_file(tmp_path / "model.safetensors").items()}
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    config = json.loads((tmp_path / "config.json").read_text()) | {"dtype": "float16"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    backbone = VisionBackbone.from_pretrained(tmp_path, 32)
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}


def test_an_image_smaller_than_a_patch(tmp_path: Path) -> None:
    write_vision(tmp_path)
    with pytest.raises(HarnessError, match="smaller than one patch"):
        VisionBackbone.from_pretrained(tmp_path, 4)


def break_nothing(_: Path) -> None:
    pass


def drop_a_weight(directory: Path) -> None:
    weights = load_file(directory / "model.safetensors")
    weights.pop(next(name for name in weights if "layers.0" in name or "layer.0" in name))
    save_file(weights, directory / "model.safetensors", {"format": "pt"})


def cut_short(directory: Path) -> None:
    file = directory / "model.safetensors"
    file.write_bytes(file.read_bytes()[:2000])


def only_a_pickle(directory: Path) -> None:
    torch.save(load_file(directory / "model.safetensors"), directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()


def no_config(directory: Path) -> None:
    (directory / "config.json").unlink()


def broken_config(directory: Path) -> None:
    (directory / "config.json").write_text('{"model_type": ')


def remote_code(directory: Path) -> None:
    config = json.loads((directory / "config.json").read_text())
    config |= {
        "model_type": "stranger",
        "auto_map": {"AutoConfig": "code.StrangerConfig", "AutoModel": "code.Stranger"},
    }
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "code.py").write_text("raise SystemExit('code of a stranger was run')")


@pytest.mark.parametrize("damage", [drop_a_weight, cut_short, only_a_pickle, no_config, broken_config, remote_code])
@pytest.mark.parametrize("part", ["vision", "language"])
def test_damaged_or_unsafe_directories_are_refused_with_their_name(part: str, damage: Any, tmp_path: Path) -> None:
    if part == "vision":
        write_vision(tmp_path)
        load: Any = lambda: VisionBackbone.from_pretrained(tmp_path, 32)  # noqa: E731
    else:
        write_language(tmp_path)
        load = lambda: LanguageBackbone.from_pretrained(tmp_path)  # noqa: E731
    load()
    damage(tmp_path)
    with pytest.raises(HarnessError, match=str(tmp_path)) as caught:
        load()
    assert caught.value.remedy


def test_a_text_model_is_no_encoder(backbones: tuple[Path, Path]) -> None:
    with pytest.raises(HarnessError, match="no plain ViT"):
        VisionBackbone.from_pretrained(backbones[1], 32)


def test_an_encoder_is_no_language_model(backbones: tuple[Path, Path]) -> None:
    with pytest.raises(HarnessError, match="siglip_vision_model"):
        LanguageBackbone.from_pretrained(backbones[0])


@pytest.mark.parametrize("family", ["llama", "opt", "gpt_neox"])
def test_random_initialisation_follows_from_the_seed_alone(family: str, tmp_path: Path) -> None:
    write_language(tmp_path, language_configs()[family])
    pretrained = LanguageBackbone.from_pretrained(tmp_path).state_dict()
    torch.manual_seed(5)
    first = LanguageBackbone.random(tmp_path, 0).state_dict()
    torch.manual_seed(6)
    state = torch.get_rng_state()
    again = LanguageBackbone.random(tmp_path, 0).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    other = LanguageBackbone.random(tmp_path, 1).state_dict()
    for name, value in first.items():
        assert torch.equal(value, again[name])
        if value.ndim > 1:  # norms and biases start constant
            assert (value != other[name]).float().mean() > 0.9
            assert (value != pretrained[name]).float().mean() > 0.9


def test_a_random_language_model_is_told_apart_in_the_assembly(backbones: tuple[Path, Path]) -> None:
    random = model_section(language={"initialization": "random"})
    pretrained = load_vlm(model_section(), 0, *backbones)
    models = [load_vlm(random, seed, *backbones) for seed in (0, 0, 1)]
    weights = [model.get_input_embeddings().weight for model in (*models, pretrained)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])


@pytest.mark.parametrize("family", language_configs())
def test_everything_that_is_not_saved_is_rebuilt_when_loading(
    family: str, backbones: tuple[Path, Path], tmp_path: Path
) -> None:
    """transformers builds on "meta": buffers outside the checkpoint come back as memory, plain tensors stay on meta."""
    vlm = load_vlm(
        model_section("perceiver"), 0, backbones[0], write_language(tmp_path / "lm", language_configs()[family])
    )
    vlm.save_pretrained(tmp_path / "vlm")
    again = VLM.from_pretrained(tmp_path / "vlm")
    buffers = dict(again.named_buffers())
    assert buffers.keys() == dict(vlm.named_buffers()).keys()
    for name, buffer in vlm.named_buffers():
        assert torch.equal(buffers[name], buffer), name
    for module in again.modules():
        for name, value in vars(module).items():
            assert not (isinstance(value, torch.Tensor) and value.is_meta), f"{type(module).__name__}.{name}"
    parameters = dict(again.named_parameters())
    assert all(torch.equal(parameters[name], value) for name, value in vlm.named_parameters())
