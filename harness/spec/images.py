"""What must hold between the images of a model, of its phases and of its evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from harness.spec.backbones import known
from harness.spec.connectors import CONNECTORS
from harness.spec.expert_checks import check_whole_pictures
from harness.spec.finding import Finding
from harness.spec.place import Path
from harness.spec.schema.evaluation import EvaluationConfig
from harness.spec.schema.model import ModelConfig
from harness.spec.schema.splitting import SplittingConfig
from harness.spec.schema.training import PhaseConfig
from harness.spec.visual_tokens import EVEN_SQUARE

_SIZE: Path = ("model", "image", "size")


def check_images(
    model: ModelConfig, phases: Mapping[str, PhaseConfig], evaluation: EvaluationConfig
) -> Iterator[Finding]:
    """Resolutions that encoder and connector can change to; grids of tiles that split some picture. Paths start at the
    config.
    """
    size = model.image.size
    for name, phase in phases.items():
        path: Path = ("phases", name)
        size = phase.image_size or model.image.size
        if phase.image_size is not None:
            yield from _check_size(model, phase.image_size, (*path, "image_size"))
        yield from _check_grid(phase.splitting, size, path)
    yield from _check_grid(evaluation.splitting, size, ("evaluation",))
    yield from check_whole_pictures(model, phases, evaluation)


def _check_size(model: ModelConfig, size: int, path: Path) -> Iterator[Finding]:
    connector = model.connector
    kind: Path = ("model", "connector", "kind")
    if size != model.image.size and not CONNECTORS[connector.kind].any_grid:
        message = f"{connector.kind} is made for one grid of patches, the resolution cannot change between phases"
        fitting = " or ".join(name for name, kind in CONNECTORS.items() if kind.any_grid)
        remedy = f"take the connector {fitting}, or leave image_size out"
        yield Finding(path, message, remedy, (kind,))
        return
    zoo = known(model.vision.backbone)
    if zoo is None or zoo.role != "vision":
        return
    if size % zoo.patch:
        near = max(1, round(size / zoo.patch)) * zoo.patch
        message = f"{size} pixels cannot be cut into patches of {zoo.patch}, as {model.vision.backbone} does"
        yield Finding(path, message, f"take a multiple of {zoo.patch}, such as {near}")
    elif CONNECTORS[connector.kind].tokens is EVEN_SQUARE and size // zoo.patch % math.isqrt(connector.num_tokens):
        side, grid = math.isqrt(connector.num_tokens), size // zoo.patch
        message = f"a grid of {grid}×{grid} patches cannot be pooled evenly to {side}×{side}"
        yield Finding(path, message, f"take a multiple of {side * zoo.patch}", (kind,))


def _check_grid(splitting: SplittingConfig, size: int, path: Path) -> Iterator[Finding]:
    if splitting.longest_side is not None and splitting.longest_side <= size:
        message = f"a picture of {splitting.longest_side} pixels is covered by one tile of {size}: nothing is split"
        remedy = f"raise it above the image size, {size}, or set kind: none"
        yield Finding((*path, "splitting", "longest_side"), message, remedy, (_SIZE,))
