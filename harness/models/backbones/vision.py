"""Vision encoders: pixels → patch features on a grid."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from harness.errors import HarnessError
from harness.models.backbones.source import layers_of, load_config, load_weights
from harness.models.families import VISION, vision_family


@dataclass(frozen=True)
class VisionFeatures:
    """Patch features ``values`` [I, P, d_v], row by row on ``grid`` (h, w); ``mask`` [I, P]: real patches, or all.

    With a mask each image has a grid of its own, which fits into ``grid``: its patches, row by row, come first. Where
    other tokens stand among the patches there is no picture left: ``grid`` is one row of them all.
    """

    values: Tensor
    grid: tuple[int, int]
    mask: Tensor | None = None


Among = Callable[[Tensor, Tensor, tuple[int, int]], Tensor]
"""Patches [I, P, d] with their positions, the positions [P, d], and the grid → what the layers read, [I, N, d]."""


class VisionBackbone(nn.Module):
    """Any Hugging Face ViT (SigLIP, CLIP, ViT, DINOv2, …): its last hidden state without class and register tokens.

    Heads that only serve pooling are left out: they would count as trainable and never receive a gradient.
    """

    def __init__(self, model: PreTrainedModel, image_size: int) -> None:
        super().__init__()
        self.model = model
        config = model.config
        self.patch_size = _patch_size(config)
        self.width: int = config.hidden_size
        self._interpolate: dict[str, Any] | None = None
        if "interpolate_pos_encoding" in inspect.signature(model.forward).parameters:
            self._interpolate = {"interpolate_pos_encoding": True}
        elif vision_family(config.model_type).always_interpolates:
            self._interpolate = {}
        self.set_image_size(image_size)
        for name in _unused_parameters(config):
            model.get_parameter(name).requires_grad_(False)
        self._among: Among | None = None
        self._first = 0  # class and register tokens
        # A hook, so that the hub's names of parameters survive; a bound method, so that a copy runs its own.
        embeddings = next(module for name, module in model.named_modules() if name.rpartition(".")[2] == "embeddings")
        embeddings.register_forward_hook(self._join, with_kwargs=True)

    def set_image_size(self, image_size: int) -> None:
        """Take images of this many pixels a side from now on; no parameter depends on it."""
        config, patch_size = self.model.config, self.patch_size
        if image_size < patch_size:
            raise HarnessError(
                f"image.size {image_size} is smaller than one patch of the encoder ({patch_size} pixels)",
                remedy="raise image.size",
            )
        self.grid = (image_size // patch_size, image_size // patch_size)
        self.image_size = image_size
        self._arguments: dict[str, Any] = {}
        if image_size != config.image_size:
            if self._interpolate is None:
                raise HarnessError(
                    f"encoder {config.model_type} only takes images of {config.image_size} pixels",
                    remedy=f"set image.size to {config.image_size}",
                )
            self._arguments = self._interpolate

    @classmethod
    def from_config(cls, config: PreTrainedConfig, image_size: int) -> VisionBackbone:
        """An encoder without pretrained weights (they are about to be loaded)."""
        config, arguments = _without_pooling(deepcopy(config))
        return cls(_drop_pooling(AutoModel.from_config(config, **arguments)), image_size)

    @classmethod
    def from_pretrained(cls, source: str | Path, image_size: int) -> VisionBackbone:
        """An encoder from a directory or hub id."""
        config, arguments = _without_pooling(vision_config(source))
        return cls(_drop_pooling(load_weights(AutoModel, source, config, **arguments)), image_size)

    @property
    def layers(self) -> nn.ModuleList:
        """The encoder's layers, in order."""
        return layers_of(self.model)

    def forward(
        self, pixels: Tensor, grids: Sequence[tuple[int, int]] | None = None, among: Among | None = None
    ) -> VisionFeatures:
        """Pixels [I, 3, image_size, image_size] → features; of images with ``grids`` of their own see ``PixelInputs``.

        Images of one grid go through the encoder together and without padding, so that neither padding nor the other
        images of a batch can change their features. Positions are the pretrained ones, interpolated to the grid.

        ``among`` makes of the patches, of images without grids of their own, what the first norm and layer get.
        """
        if pixels.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(f"pixels are {tuple(pixels.shape)}, the encoder was told image_size {self.image_size}")
        if among is not None:
            if grids is not None:
                raise HarnessError(
                    "images that keep their aspect ratio cannot have experts", remedy="set image.aspect to square"
                )
            values = self._patches(pixels, self.grid, self._arguments, among)
            return VisionFeatures(values, (1, values.shape[1]))
        if grids is None:
            return VisionFeatures(self._patches(pixels, self.grid, self._arguments), self.grid)
        if self._interpolate is None:
            raise HarnessError(
                f"encoder {self.model.config.model_type} cannot interpolate its positions, so that images cannot keep "
                "their aspect ratio",
                remedy="set image.aspect to square, crop or letterbox, or take an encoder of one of the families "
                f"{', '.join(VISION)}",
            )
        # As many patches as the square has, whatever is in the batch: a table of features is as wide.
        values = pixels.new_zeros(len(pixels), self.grid[0] * self.grid[1], self.width)
        mask = torch.zeros(values.shape[:2], dtype=torch.bool, device=pixels.device)
        for grid in dict.fromkeys(grids):
            places = [place for place, each in enumerate(grids) if each == grid]
            height, width = (side * self.patch_size for side in grid)
            alike = self._patches(pixels[places, :, :height, :width], grid, self._interpolate)
            values[places, : alike.shape[1]] = alike
            mask[places, : alike.shape[1]] = True
        return VisionFeatures(values, self.grid, mask)

    def _patches(
        self, pixels: Tensor, grid: tuple[int, int], arguments: dict[str, Any], among: Among | None = None
    ) -> Tensor:
        """Features [I, h·w, d_v] of images on one grid, or of what stands among their patches too."""
        # Gradients pass through a frozen encoder to what was put among its patches.
        trained = among is not None or any(parameter.requires_grad for parameter in self.parameters())
        self._among = among
        try:
            with torch.set_grad_enabled(trained and torch.is_grad_enabled()):
                hidden = self.model(pixel_values=pixels, **arguments).last_hidden_state
        finally:
            self._among = None
        # Class and register tokens come first in every family; what is left are the patches, row by row.
        return hidden[:, self._first if among is not None else hidden.shape[1] - grid[0] * grid[1] :]

    def _join(self, embeddings: nn.Module, inputs: Any, arguments: dict[str, Any], output: Tensor) -> Tensor | None:
        """Hook of the embeddings, which are class and register tokens, then the patches with their positions."""
        if self._among is None:
            return None
        among, self._among = self._among, None
        self._first = output.shape[1] - self.grid[0] * self.grid[1]
        positions = _positions(embeddings, inputs, arguments, self.width, self.grid)[self._first :]
        joined = among(output[:, self._first :], positions, self.grid)
        return torch.cat([output[:, : self._first], joined.to(output.dtype)], 1)

    def frozen_for_good(self) -> list[str]:
        """Parameters that no forward of ours uses, so that no tuning mode may count them as trainable."""
        return [f"model.{name}" for name in _unused_parameters(self.model.config)]


def _positions(
    embeddings: nn.Module, inputs: tuple[Any, ...], arguments: dict[str, Any], width: int, grid: tuple[int, int]
) -> Tensor:
    """What an encoder adds to its patches, and its class and register tokens: [P + …, d].

    Each family adds and interpolates positions in its own way: they are what it makes of an image whose patches are 0.
    """
    patches = next(module for module in embeddings.modules() if isinstance(module, nn.Conv2d))
    first = [value[:1] if isinstance(value, Tensor) else value for value in inputs]
    named = {name: value[:1] if isinstance(value, Tensor) else value for name, value in arguments.items()}
    patches.forward = lambda input: input.new_zeros(1, width, *grid)  # type: ignore[method-assign]
    try:
        positions: Tensor = embeddings(*first, **named)[0]
    finally:
        del patches.forward
    return positions


def vision_config(source: str | Path) -> PreTrainedConfig:
    """The config of the encoder in ``source``; of a two-tower model (SigLIP, CLIP) its vision half."""
    config = load_config(source)
    config = getattr(config, "vision_config", config)
    for name in ("hidden_size", "patch_size", "image_size"):
        if not hasattr(config, name):
            raise HarnessError(
                f"{source} ({config.model_type}) is no plain ViT: its config has no {name}",
                remedy=f"use an encoder of one of the families {', '.join(VISION)}",
            )
    return config


def _patch_size(config: PreTrainedConfig) -> int:
    size = config.patch_size
    return size if isinstance(size, int) else size[0]


def _without_pooling(config: PreTrainedConfig) -> tuple[PreTrainedConfig, dict[str, Any]]:
    """The config, and arguments of the model class, that leave a pooling head out."""
    family = vision_family(config.model_type)
    for name, value in family.config_without_pooling.items():
        setattr(config, name, value)
    return config, dict(family.arguments_without_pooling)


def _drop_pooling(model: PreTrainedModel) -> PreTrainedModel:
    norm = vision_family(model.config.model_type).pooling_norm
    if norm is not None:
        setattr(model, norm, nn.Identity())
    return model


def _unused_parameters(config: PreTrainedConfig) -> list[str]:
    return ["embeddings.mask_token"] if vision_family(config.model_type).mask_token else []
