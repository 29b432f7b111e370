"""How pictures come to an encoder: square, cropped, letterboxed, or with their own aspect ratio."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

import harness.models
from harness.data.features import ARRAY, FeatureTable, write_index
from harness.errors import HarnessError
from harness.models import ModelInputs, load_processor, load_vlm
from harness.models.backbones.vision import VisionBackbone, VisionFeatures
from harness.models.connectors import build_connector
from harness.models.connectors.base import Widths
from harness.models.images import ImagePreparation, load_preparation
from harness.models.inputs import FeatureInputs, PixelInputs
from harness.models.processor import load_image_processor
from harness.models.settings import ConnectorSettings
from harness.models.vlm import initialise_connector
from harness.spec.connectors import CONNECTORS

from .tiny import IMAGE, model_section, vision_configs, write_language, write_vision

SHAPES = [(32, 32), (60, 30), (30, 60), (37, 111), (200, 20), (9, 300), (50, 40)]


def picture(shape: tuple[int, int], seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*shape, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vision(tmp_path_factory.mktemp("vision"))


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language(tmp_path_factory.mktemp("language"))


def preparation(vision: Path, aspect: str) -> ImagePreparation:
    return load_preparation(vision, {"size": 32, "aspect": aspect}, 8)


def values(picture: Image.Image) -> torch.Tensor:
    """What SigLIP's normalisation makes of pixels, by hand."""
    return torch.from_numpy(np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) / 255 * 2 - 1)


def test_a_square_is_what_the_image_processor_gives_to_the_bit(vision: Path) -> None:
    pictures = [picture(shape) for shape in SHAPES]
    expected = load_image_processor(vision, 32)(pictures, return_tensors="pt")["pixel_values"]
    prepared = load_preparation(vision, {"size": 32}, 8)(pictures)
    assert prepared.grids is None
    assert torch.equal(prepared.pixels, expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_crop_is_the_centre(vision: Path, shape: tuple[int, int]) -> None:
    original, prepare = picture(shape), preparation(vision, "crop")
    scale = 32 / min(shape)
    resized = np.asarray(
        original.resize((round(shape[1] * scale), round(shape[0] * scale)), load_image_processor(vision, 32).resample)
    )
    top, left = (resized.shape[0] - 32) // 2, (resized.shape[1] - 32) // 2
    expected = values(Image.fromarray(resized[top : top + 32, left : left + 32]))
    torch.testing.assert_close(prepare([original]).pixels[0], expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_letterbox_has_bars_of_the_mean_colour(vision: Path, shape: tuple[int, int]) -> None:
    original = picture(shape)
    side = max(shape)
    padded = np.full((side, side, 3), 128, dtype=np.uint8)  # SigLIP's mean is one half
    top, left = (side - shape[0]) // 2, (side - shape[1]) // 2
    padded[top : top + shape[0], left : left + shape[1]] = np.asarray(original)
    expected = load_image_processor(vision, 32)([Image.fromarray(padded)], return_tensors="pt")["pixel_values"]
    found = preparation(vision, "letterbox")([original])
    assert torch.equal(found.pixels, expected)
    if shape == (200, 20):
        assert found.pixels[0, :, :, :10].abs().max() < 0.01  # after normalisation the mean is nothing


@pytest.mark.parametrize(
    ("shape", "grid"),
    [((32, 32), (4, 4)), ((60, 30), (4, 2)), ((30, 60), (2, 4)), ((9, 300), (1, 4)), ((50, 40), (4, 3))],
)
def test_native_cuts_the_short_side_to_whole_patches(
    vision: Path, shape: tuple[int, int], grid: tuple[int, int]
) -> None:
    original, prepare = picture(shape), preparation(vision, "native")
    prepared = prepare([original])
    assert prepared.grids == (grid,) == (prepare.grid(shape),)
    height, width = grid[0] * 8, grid[1] * 8
    assert not prepared.pixels[0, :, height:].any()
    assert not prepared.pixels[0, :, :, width:].any()
    scale = 32 / max(shape)
    scaled = original.resize(
        (max(width, round(shape[1] * scale)), max(height, round(shape[0] * scale))),
        load_image_processor(vision, 32).resample,
    )
    expected = values(scaled)[:, :height, :width]
    torch.testing.assert_close(prepared.pixels[0, :, :height, :width], expected)


@pytest.mark.parametrize("family", ["siglip", "clip", "vit", "dinov2"])
def test_padding_and_neighbours_change_no_real_patch(family: str, tmp_path: Path) -> None:
    folder = write_vision(tmp_path, vision_configs()[family])
    encoder = VisionBackbone.from_pretrained(folder, 32).eval()
    prepare = ImagePreparation(load_image_processor(folder, 32), "native", encoder.patch_size)
    pictures = [picture(shape, seed) for seed, shape in enumerate(SHAPES)]
    together = prepare(pictures)
    assert together.grids is not None
    with torch.no_grad():
        batch = encoder(together.pixels, together.grids)
        assert batch.mask is not None
        for number, (height, width) in enumerate(together.grids):
            alone = encoder.model(
                pixel_values=together.pixels[number : number + 1, :, : height * 8, : width * 8],
                **({} if family == "dinov2" else {"interpolate_pos_encoding": True}),
            ).last_hidden_state[0, -height * width :]
            real = batch.mask[number]
            assert real.tolist() == [patch < height * width for patch in range(16)]
            torch.testing.assert_close(batch.values[number][real], alone, atol=1e-5, rtol=1e-5)
            assert not batch.values[number][~real].any()
        square = encoder(together.pixels[:1])  # the first picture is one
    torch.testing.assert_close(batch.values[:1], square.values, atol=1e-5, rtol=1e-5)


def test_the_aspect_ratio_reaches_the_positions(vision: Path) -> None:
    """An even picture: its patches differ by their positions alone, which depend on the picture's shape."""
    encoder = VisionBackbone.from_pretrained(vision, 32).eval()
    prepare = preparation(vision, "native")
    inputs = prepare([Image.new("RGB", shape, "red") for shape in ((64, 32), (32, 64))])
    with torch.no_grad():
        tall, wide = encoder(inputs.pixels, inputs.grids).values
    assert (tall[1] - wide[1]).abs().max() > 1e-3


def test_an_encoder_that_cannot_interpolate_says_what_can(vision: Path) -> None:
    encoder = VisionBackbone.from_pretrained(vision, 32).eval()
    encoder._interpolate = None
    with pytest.raises(HarnessError, match="aspect ratio") as error:
        encoder(torch.zeros(1, 3, 32, 32), ((4, 2),))
    assert "letterbox" in str(error.value.remedy)


def test_the_registry_knows_which_connectors_leave_patches_out() -> None:
    features = VisionFeatures(torch.randn(2, 16, 24), (4, 4), torch.arange(16).expand(2, 16) < 9)
    takes = set()
    for kind in CONNECTORS:
        settings = ConnectorSettings.of(model_section(kind)["connector"])
        connector = build_connector(settings, Widths(24, 32, 64), (4, 4))
        try:
            connector(features)
        except ValueError:
            continue
        takes.add(kind)
    assert takes == {name for name, kind in CONNECTORS.items() if kind.takes_mask}


@pytest.mark.parametrize("kind", sorted(CONNECTORS))
def test_the_registry_knows_which_connectors_take_any_grid(kind: str) -> None:
    settings = ConnectorSettings.of(model_section(kind)["connector"])
    small, large = (build_connector(settings, Widths(24, 32, 64), (side, side)) for side in (4, 8))
    shapes = [{name: each.shape for name, each in model.named_parameters()} for model in (small, large)]
    same = shapes[0] == shapes[1] and small.num_tokens == large.num_tokens
    assert same == CONNECTORS[kind].any_grid


@pytest.mark.parametrize("kind", sorted(CONNECTORS))
def test_the_registry_knows_which_connectors_need_the_grid(kind: str) -> None:
    """The others make the same of patches in one row, where tokens of experts may stand among them."""
    settings = ConnectorSettings.of(model_section(kind)["connector"])
    on_grid = build_connector(settings, Widths(24, 32, 64), (4, 4))
    initialise_connector(on_grid, 0)
    values = torch.randn(2, 16, 24)
    try:
        in_a_row = build_connector(settings, Widths(24, 32, 64), (1, 16))
        in_a_row.load_state_dict(on_grid.state_dict())
        expected = on_grid(VisionFeatures(values, (4, 4)))
        same = torch.allclose(in_a_row(VisionFeatures(values, (1, 16))), expected, atol=1e-5)
    except HarnessError:
        same = False
    assert same != CONNECTORS[kind].keeps_grid


def test_a_model_goes_on_at_another_resolution(vision: Path, language: Path, tmp_path: Path) -> None:
    vlm = load_vlm(model_section("perceiver"), 0, vision, language)
    processor = load_processor(vlm, vision, language)
    fresh = load_vlm(model_section("perceiver", image={"size": 64}), 0, vision, language)
    vlm.set_image_size(64)
    processor.set_image_size(64)
    vlm.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again: Any = AutoModelForImageTextToText.from_pretrained(tmp_path)
    inputs = AutoProcessor.from_pretrained(tmp_path).prepare([picture((50, 40))])
    assert inputs.pixels.shape == (1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(vlm.visual_tokens(inputs), fresh.visual_tokens(inputs))
        assert torch.equal(again.visual_tokens(inputs), fresh.visual_tokens(inputs))
    shuffling = load_vlm(model_section("pixel_shuffle"), 0, vision, language)
    with pytest.raises(HarnessError, match="pixel_shuffle"):
        shuffling.set_image_size(64)
    assert shuffling.config.image_size == shuffling.vision.image_size == 32


@pytest.fixture(scope="module")
def native(vision: Path, language: Path) -> tuple[Any, Any]:
    section = model_section("perceiver", image={"size": 32, "aspect": "native"})
    vlm = load_vlm(section, 0, vision, language)
    return vlm, load_processor(vlm, vision, language)


def test_visual_tokens_of_a_picture_do_not_depend_on_its_batch(native: tuple[Any, Any]) -> None:
    vlm, processor = native
    pictures = [picture(shape, seed) for seed, shape in enumerate(SHAPES)]
    with torch.no_grad():
        together = vlm.visual_tokens(processor.prepare(pictures))
        for number, each in enumerate(pictures):
            alone = vlm.visual_tokens(processor.prepare([each]))
            torch.testing.assert_close(together[number], alone[0], atol=1e-5, rtol=1e-5)
        # What lies in the padding is not seen: noise there changes nothing.
        inputs = processor.prepare(pictures)
        features = vlm.encode(inputs)
        noisy = replace(features, features=features.features.masked_fill(~features.mask[..., None], 7.0))
        torch.testing.assert_close(vlm.visual_tokens(noisy), together, atol=1e-5, rtol=1e-5)
    assert (together[0] - together[1]).abs().max() > 0.01


def test_native_features_from_a_table_are_the_encoders(native: tuple[Any, Any], tmp_path: Path) -> None:
    vlm, processor = native
    pictures = [picture(shape, seed) for seed, shape in enumerate(SHAPES)]
    inputs = processor.prepare(pictures)
    online = vlm.encode(inputs).as_stored()
    np.save(tmp_path / ARRAY, online.features.detach().numpy().astype(np.float16))
    names = [f"{number}.jpg" for number in range(len(pictures))]
    write_index(tmp_path, names, online.grid, inputs.grids)
    table = FeatureTable.open(tmp_path)
    wanted = [names[3], names[0], names[3]]
    stored = FeatureInputs.of_arrays(table.rows(wanted), table.grid, table.mask(wanted))
    assert torch.equal(stored.features, online.features[[3, 0, 3]])
    assert stored.mask is not None
    assert online.mask is not None
    assert torch.equal(stored.mask, online.mask[[3, 0, 3]])


def test_gradients_reach_an_encoder_that_is_trained_on_native_pictures(native: tuple[Any, Any]) -> None:
    vlm, processor = native
    vlm.vision.requires_grad_(True)
    vlm.visual_tokens(processor.prepare([picture((60, 30)), picture((30, 60))])).sum().backward()
    gradient = vlm.vision.model.get_parameter("embeddings.patch_embedding.weight").grad
    vlm.zero_grad()
    assert gradient.abs().max() > 0


def test_round_trip_and_generation_through_the_auto_classes(native: tuple[Any, Any], tmp_path: Path) -> None:
    assert harness.models
    vlm, processor = native
    vlm.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded: Any = AutoModelForImageTextToText.from_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert again.image_aspect == "native"
    assert loaded.config.image_aspect == "native"
    batch = again(images=[picture((60, 30)), picture((30, 60), 1)], text=["w5 <image> w6", "w5 <image> w7"])
    assert batch["image_grids"].tolist() == [[4, 2], [2, 4]]
    written = loaded.generate(**batch, max_new_tokens=3, do_sample=False, eos_token_id=-1)
    images = PixelInputs(batch["pixel_values"], ((4, 2), (2, 4)))
    with torch.no_grad():
        logits = vlm(ModelInputs.of_rows(batch["input_ids"], batch["attention_mask"], images)).logits[:, -1]
    logits[:, IMAGE] = -torch.inf
    assert written[:, batch["input_ids"].shape[1]].tolist() == logits.argmax(-1).tolist()
