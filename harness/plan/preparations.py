"""Stages that only prepare what others read: features of a frozen encoder, label maps that models make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.plan.data import DataSource
from harness.plan.weights import Backbone, Backbones
from harness.spec import Config
from harness.spec.experts import COMPUTED_MAPS
from harness.spec.schema import Section, SplittingConfig
from harness.store import Stage

VERSIONS = {"features": 1, "experts": 1}
"""Bumped by hand when the results of a kind of stage change although its config does not."""

PREPARATIONS = tuple(VERSIONS)
"""The kinds of such stages."""


class Preparations:
    """The preparations that a sweep's stages read, each built once for all variants that share it.

    ``part`` writes out a section's part of an identity, ``add`` puts a stage into the plan and gives its id.
    """

    def __init__(
        self,
        backbones: Backbones,
        data: DataSource,
        part: Callable[[Section], dict[str, Any]],
        add: Callable[[Stage], str],
    ) -> None:
        self._backbones = backbones
        self._data = data
        self._part = part
        self._add = add
        self._encoded: dict[tuple[object, ...], tuple[Config, str]] = {}
        self._labelled: dict[tuple[object, ...], tuple[Config, str]] = {}
        self._fit: dict[tuple[object, ...], tuple[Config, bool]] = {}

    def features(
        self, config: Config, vision: Backbone, images: str, size: int, splitting: SplittingConfig
    ) -> dict[str, str]:
        """The features that a stage reads, by the names of its inputs: of the pictures and, when split, of their tiles.

        Tiles are those of all pictures, whatever share of them is split, in a stage of their own: what is seen of whole
        pictures is the same for all variants.
        """
        read = {"features": self._features_stage(config, vision, images, size, None)}
        if splitting.kind != "none":
            read["tile_features"] = self._features_stage(config, vision, images, size, splitting)
        return read

    def _features_stage(
        self, config: Config, vision: Backbone, images: str, size: int, tiles: SplittingConfig | None
    ) -> str:
        # By the sections that are read, which variants share; the config is kept, so that no other takes their places.
        cut = None if tiles is None else (tiles.kind, tiles.longest_side)
        key = (id(config.model), id(config.data), vision.name, images, size, cut)
        if key not in self._encoded:
            self._encoded[key] = (config, self._add(self._new_features_stage(config, vision, images, size, tiles)))
        return self._encoded[key][1]

    def _new_features_stage(
        self, config: Config, vision: Backbone, images: str, size: int, tiles: SplittingConfig | None
    ) -> Stage:
        content: dict[str, Any] = {"image": {**self._part(config.model.image), "size": size}, "images": images}
        slug = f"{images}-{vision.name.rpartition('/')[2]}-{size}px"
        if tiles is not None:
            content["splitting"] = {"kind": tiles.kind, "longest_side": tiles.longest_side}
            slug += f"-{tiles.kind}"
        if config.model.image.aspect != "square":
            slug += f"-{config.model.image.aspect}"
        return Stage(
            "features",
            VERSIONS["features"],
            content,
            {},
            {"data": self._data.digest(config.data), "vision": vision.digest},
            slug,
            {**self._data.location(config.data), "vision": str(vision.directory)},
        )

    def label_maps(self, config: Config, images: str) -> dict[str, str]:
        """The label maps that models make and a stage reads, by the names of its inputs."""
        named = config.model.experts.models.named()
        return {f"{COMPUTED_MAPS}{kind}": self._experts_stage(config, kind, named[kind], images) for kind in named}

    def _experts_stage(self, config: Config, kind: str, name: str, images: str) -> str:
        key = (id(config.data), kind, name, images)
        if key not in self._labelled:
            self._labelled[key] = (config, self._add(self._new_experts_stage(config, kind, name, images)))
        return self._labelled[key][1]

    def _new_experts_stage(self, config: Config, kind: str, name: str, images: str) -> Stage:
        model = self._backbones.resolve(name)
        return Stage(
            "experts",
            VERSIONS["experts"],
            {"expert": kind, "images": images},
            {},
            {"data": self._data.digest(config.data), "model": model.digest},
            f"{images}-{kind}-{name.rpartition('/')[2]}",
            {**self._data.location(config.data), "model": str(model.directory)},
        )

    def uses_features(self, config: Config, vision: Backbone, phase_name: str) -> bool:
        """Whether the encoder is still the pretrained one throughout a phase, so that features computed once hold.

        With experts its layers read what is learned beside them.
        """
        if config.model.experts.kinds or config.runtime.feature_cache == "off":
            return False
        for name, phase in config.phases.items():
            if phase.tuning.vision != "frozen":
                return False
            if name == phase_name:
                break
        if config.runtime.feature_cache == "on":
            return True
        sections = (config.model, config.data, config.runtime, config.evaluation, *config.phases.values())
        key = (*map(id, sections), vision.name)
        if key not in self._fit:
            self._fit[key] = (config, self._data.features_fit(config, vision))
        return self._fit[key][1]
