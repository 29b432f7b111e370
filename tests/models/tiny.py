"""Tiny random backbones of many families, as configs and as Hugging Face directories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    CLIPVisionConfig,
    Dinov2Config,
    Gemma2Config,
    Gemma3TextConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    SiglipImageProcessor,
    SiglipVisionConfig,
    ViTConfig,
)

from harness.models import ModelInputs, PixelInputs
from harness.models.families import LANGUAGE, VISION
from harness.models.quiet import quiet_transformers
from harness.spec.experts import DENSE

VOCABULARY = 64
PAD, IMAGE, EOS, UNKNOWN = 0, 1, 2, 3
FIRST_WORD = 4
WINDOW = 5

_COMMON: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": VOCABULARY,
    "pad_token_id": PAD,
    "bos_token_id": EOS,
    "eos_token_id": EOS,
}


def language_configs() -> dict[str, PreTrainedConfig]:
    """One config a family; windows are shorter than the packs of the tests."""
    gqa = {"num_key_value_heads": 2}
    configs: dict[str, PreTrainedConfig] = {
        "llama": LlamaConfig(**_COMMON, **gqa, tie_word_embeddings=True),
        "mistral": MistralConfig(**_COMMON, **gqa, sliding_window=WINDOW),
        "qwen2": Qwen2Config(**_COMMON, **gqa, sliding_window=WINDOW, use_sliding_window=True, max_window_layers=1),
        "qwen3": Qwen3Config(**_COMMON, **gqa, head_dim=8),
        # Caps small enough to matter to the small scores of a small model.
        "gemma2": Gemma2Config(
            **_COMMON,
            **gqa,
            head_dim=8,
            sliding_window=WINDOW,
            attn_logit_softcapping=1.0,
            final_logit_softcapping=2.0,
        ),
        "gemma3": Gemma3TextConfig(
            **_COMMON,
            **gqa,
            head_dim=8,
            sliding_window=WINDOW,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        ),
        "opt": OPTConfig(
            **{key: value for key, value in _COMMON.items() if key != "intermediate_size"},
            ffn_dim=64,
            word_embed_proj_dim=32,
            dropout=0.0,
        ),
        "gpt_neox": GPTNeoXConfig(**_COMMON),
    }
    return configs | _of_new_families(LANGUAGE, configs, {**_COMMON, **gqa, "head_dim": 8})


def vision_configs(image_size: int = 32) -> dict[str, PreTrainedConfig]:
    """One config a family of encoders, 4 × 4 patches."""
    common = {
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": image_size,
        "patch_size": 8,
    }
    configs: dict[str, PreTrainedConfig] = {
        "siglip": SiglipVisionConfig(**common),
        "clip": CLIPVisionConfig(**common),
        "vit": ViTConfig(**common),
        "dinov2": Dinov2Config(**common, mlp_ratio=2),
    }
    return configs | _of_new_families(VISION, configs, common)


def _of_new_families(
    registry: tuple[str, ...], configs: dict[str, PreTrainedConfig], sizes: dict[str, Any]
) -> dict[str, PreTrainedConfig]:
    """Configs of the families that somebody added."""
    described = {config.model_type for config in configs.values()}
    return {name: AutoConfig.for_model(name, **sizes) for name in registry if name not in described}


def sharpen(model: torch.nn.Module) -> None:
    """Enlarge the small random weights, so that what a token sees matters to its logits."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)


def write_language(directory: Path, config: PreTrainedConfig | None = None, seed: int = 0) -> Path:
    """A language model with a word-level tokenizer."""
    torch.manual_seed(seed)
    with quiet_transformers():
        model = AutoModelForCausalLM.from_config(config or language_configs()["llama"])
        sharpen(model)
        model.save_pretrained(directory)
        words = {"<pad>": PAD, "<image>": IMAGE, "<eos>": EOS, "<unk>": UNKNOWN}
        words |= {f"w{index}": index for index in range(FIRST_WORD, VOCABULARY)}
        tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token="<pad>",
            eos_token="<eos>",
            unk_token="<unk>",
            extra_special_tokens=["<image>"],
        ).save_pretrained(directory)
    return directory


def write_vision(directory: Path, config: PreTrainedConfig | None = None, seed: int = 0) -> Path:
    """An encoder with its image processor."""
    torch.manual_seed(seed)
    config = config or vision_configs()["siglip"]
    with quiet_transformers():
        AutoModel.from_config(config).save_pretrained(directory)
        SiglipImageProcessor(size={"height": config.image_size, "width": config.image_size}).save_pretrained(directory)
    return directory


FUSIONS: dict[str, dict[str, Any]] = {
    "autoregressive": {"kind": "autoregressive"},
    "delimited": {"kind": "autoregressive", "image_delimiters": True},
    "flamingo": {"kind": "cross_attention", "cross_attn_every": 2, "num_heads": 2, "head_dim": 8},
    "idefics": {
        "kind": "cross_attention",
        "flavour": "idefics",
        "cross_attn_every": 2,
        "sees": "all_images",
        "gate": "vector",
        "qk_norm": True,
        "memory_width": "vision",
    },
}
"""Every fusion, with settings between them that differ in everything."""


def open_gates(vlm: torch.nn.Module) -> None:
    """Let cross-attention matter: gates that are not zero."""
    with torch.no_grad():
        for name, parameter in vlm.named_parameters():
            if name.endswith("_gate"):
                parameter.fill_(0.7)


def model_section(kind: str = "average_pool", num_tokens: int = 4, **changes: Any) -> dict[str, Any]:
    """The section ``model`` of a variant's config."""
    sizes: dict[str, Any] = {"depth": 2, "num_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    if kind == "lm_adapter":
        sizes |= {"initialization": "random", "backbone_config": language_configs()["llama"].to_dict()}
    return {
        "vision": {"backbone": "zoo/vision-base"},
        "image": {"size": 32},
        "connector": {"kind": kind, "num_tokens": num_tokens, **sizes},
        "fusion": {"kind": "autoregressive"},
        "language": {"backbone": "zoo/language-base", "initialization": "pretrained"},
        **changes,
    }


def words(*lengths: int, seed: int = 0) -> list[torch.Tensor]:
    """Documents of random words."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(FIRST_WORD, VOCABULARY, (length,), generator=generator) for length in lengths]


def with_image(tokens: int, text: torch.Tensor, before: int = 1) -> torch.Tensor:
    """A document with one image of ``tokens`` placeholders after its first words."""
    return torch.cat([text[:before], torch.full((tokens,), IMAGE), text[before:]])


def pixels(count: int, size: int = 32, seed: int = 0) -> torch.Tensor:
    """Random images [count, 3, size, size]."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def maps(count: int, size: int = 32, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random label maps of all kinds of experts, [count, C, size, size] by kind."""
    generator = torch.Generator().manual_seed(seed)
    found = {kind: torch.randn(count, channels, size, size, generator=generator) for kind, channels in DENSE.items()}
    for kind, channels in (("segmentation", 1), ("objects", 2), ("text", 1)):
        shape = (count, channels, size, size)
        found[kind] = torch.randint(0, 256, shape, generator=generator).to(torch.uint8)
    return found


def images(count: int, seed: int = 0) -> PixelInputs:
    """Random images with label maps; a model without experts does not look at them."""
    return PixelInputs(pixels(count, seed=seed), experts=maps(count, seed=seed))


def picture(seed: int = 0) -> Image.Image:
    """A random picture that is not square."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (50, 40, 3), dtype=np.uint8))


def pack(
    rows: list[list[torch.Tensor]], images: Any = None, padding: str = "right", labelled: bool = False
) -> ModelInputs:
    """Rows of documents as one batch; with labels every word but the first of a document is supervised."""
    width = max(sum(len(document) for document in row) for row in rows)
    ids = torch.full((len(rows), width), PAD)
    positions, documents = torch.zeros_like(ids), torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for index, row in enumerate(rows):
        at = 0 if padding == "right" else width - sum(len(document) for document in row)
        for number, document in enumerate(row, start=1):
            span = slice(at, at + len(document))
            ids[index, span] = document
            positions[index, span] = torch.arange(len(document))
            documents[index, span] = number
            labels[index, span] = torch.where(document >= FIRST_WORD, document, -100)
            labels[index, at] = -100
            at += len(document)
    if isinstance(images, torch.Tensor):
        images = PixelInputs(images)
    return ModelInputs(ids, positions, documents, images, labels if labelled else None)
