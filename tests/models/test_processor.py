from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, CLIPImageProcessor, GPT2Config, PreTrainedTokenizerFast

from harness.errors import HarnessError
from harness.models import VLM, VLMProcessor, load_processor
from harness.models.processor import IMAGE_TOKEN, image_token_id, load_image_processor, load_tokenizer

from .tiny import EOS, IMAGE, PAD, picture


@pytest.fixture
def processor(vlm: VLM, backbones: tuple[Path, Path]) -> VLMProcessor:
    return load_processor(vlm, *backbones)


def test_each_mark_becomes_the_tokens_of_its_image(processor: VLMProcessor) -> None:
    batch = processor(images=[picture()], text="w5 <image> w6")
    assert batch["input_ids"].tolist() == [[5, *[IMAGE] * 4, 6]]
    assert batch["attention_mask"].tolist() == [[1] * 6]
    assert batch["pixel_values"].shape == (1, 3, 32, 32)


def test_rows_are_padded_on_the_left_and_never_cut(processor: VLMProcessor) -> None:
    long = " ".join(["w7"] * 5000)
    batch = processor(text=[long, "w5"])
    assert batch["input_ids"].shape == (2, 5000)
    assert batch["input_ids"][1, :-1].eq(PAD).all()
    assert batch["attention_mask"][1].sum() == 1
    assert "pixel_values" not in batch


@pytest.mark.parametrize("images", [[], [0, 1]])
def test_marks_and_images_must_agree(processor: VLMProcessor, images: list[int]) -> None:
    with pytest.raises(HarnessError, match="marks"):
        processor(images=[picture(index) for index in images], text="<image> w5")


def test_images_alone(processor: VLMProcessor) -> None:
    assert processor(images=picture())["pixel_values"].shape == (1, 3, 32, 32)


def test_pictures_are_resized_to_the_square_the_model_takes(processor: VLMProcessor) -> None:
    wide = picture().resize((90, 10))
    assert torch.equal(
        processor(images=wide)["pixel_values"],
        processor(images=wide.resize((32, 32), resample=processor.image_processor.resample))["pixel_values"],
    )


def test_round_trip_through_its_files(processor: VLMProcessor, vlm: VLM, tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path)
    vlm.config.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    arguments = {"images": [picture()], "text": ["w5 <image> w6 <eos>"]}
    for key, value in processor(**arguments).items():
        assert torch.equal(again(**arguments)[key], value)
    assert again.image_token_id == IMAGE


def test_a_tokenizer_without_placeholder_or_padding_gets_both(backbones: tuple[Path, Path], tmp_path: Path) -> None:
    inner = load_tokenizer(backbones[1]).backend_tokenizer
    text = inner.to_str().replace("<image>", "<picture>").replace("<pad>", "<nothing>")
    plain = PreTrainedTokenizerFast(tokenizer_object=type(inner).from_str(text), eos_token="<eos>", unk_token="<unk>")
    plain.save_pretrained(tmp_path)
    GPT2Config().save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert image_token_id(tokenizer) == 64
    assert tokenizer(f"w5 {IMAGE_TOKEN}{IMAGE_TOKEN} w6")["input_ids"] == [5, 64, 64, 6]
    assert tokenizer.pad_token_id == EOS


def test_what_is_missing_is_named(vlm: VLM, backbones: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"preprocessor_config|image processor"):
        load_processor(vlm, tmp_path, backbones[1])
    with pytest.raises(HarnessError, match="tokenizer"):
        load_processor(vlm, backbones[0], tmp_path)


def test_a_processor_that_crops_is_told_not_to(tmp_path: Path) -> None:
    cropping = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    cropping.save_pretrained(tmp_path)
    wide = Image.new("RGB", (96, 32))
    wide.paste((255, 0, 0), (0, 0, 16, 32))  # at the left border, which a crop would cut off
    pixels = load_image_processor(tmp_path, 32)([wide], return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 32, 32)
    assert pixels[0, 0, :, 0].min() > pixels[0, 0, :, -1].max()
