"""Pictures as several views, each of which the model sees as an image of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from harness.spec.schema.base import Positive, Section

READERS: Mapping[str, tuple[str, ...]] = {"longest_side": ("grid",), "share": ("quadrants", "grid")}
"""The kinds that read each other field."""


class SplittingConfig(Section):
    """How pictures are split when the model is evaluated: all of them, demonstrations and queries alike.

    ``quadrants``: four tiles, cut at half the height and half the width (Idefics2); ``grid``: as many tiles of the
    encoder's input size as cover the picture when its longest side has ``longest_side`` pixels, which no other kind
    reads (Idefics3). The whole picture follows its tiles.
    """

    kind: Literal["none", "quadrants", "grid"] = "none"
    longest_side: Positive | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_unread(cls, data: Any) -> Any:
        # A file sets the longest side, a level changes the kind: what is then unread must not tell runs apart.
        # A key that a user set in vain is refused by harness.spec.unread_splitting, which knows who set it.
        if not isinstance(data, dict) or not isinstance(kind := data.get("kind", "none"), str):
            return data
        known = kind in get_args(cls.model_fields["kind"].annotation)
        return {key: value for key, value in data.items() if not known or kind in READERS.get(key, (kind,))}


class TrainingSplittingConfig(SplittingConfig):
    """How pictures are split in training: a ``share`` of them, drawn by training seed and picture."""

    share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
