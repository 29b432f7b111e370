"""Families of backbones by the ``model_type`` of their configs: each is a file here that defines ``FAMILY``.

Importing this package loads neither torch nor transformers, nor any family before it is asked for.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.models.families.base import LanguageFamily, VisionFamily

VISION = (
    "siglip_vision_model",
    "clip_vision_model",
    "vit",
    "dinov2",
)
LANGUAGE = (
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma",
    "gemma2",
    "gemma3_text",
    "opt",
    "gpt_neox",
)


def vision_family(model_type: str) -> VisionFamily:
    """A family of encoders. Raises HarnessError where it is not known."""
    family: VisionFamily = _family(model_type, VISION, "VISION", "encoders")
    return family


def language_family(model_type: str) -> LanguageFamily:
    """A family of language models. Raises HarnessError where it is not known."""
    family: LanguageFamily = _family(model_type, LANGUAGE, "LANGUAGE", "language models")
    return family


@cache
def _family(model_type: str, known: tuple[str, ...], registry: str, kind: str) -> Any:
    if model_type not in known:
        file = f"harness/models/families/{model_type or 'MODEL_TYPE'}.py"
        raise HarnessError(
            f"{model_type or 'a model without model_type'} is no known family of {kind}",
            remedy=f"use one of {', '.join(known)}, or describe it in {file} and add a line to {registry} in "
            "harness/models/families/__init__.py: CONTRIBUTING.md, A new backbone",
        )
    return import_module(f"{__name__}.{model_type}").FAMILY
