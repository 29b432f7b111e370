"""What tables need of a finished stage's record: a few numbers, so that thousands of records need not be kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from harness.store import Record


@dataclass(frozen=True)
class Facts:
    """Of one finished stage, as its executor recorded them; ``None`` for what a kind of stage does not have.

    ``step``: where it diverged. ``core_seconds`` are those of all attempts.
    """

    outcome: str
    step: Any
    parameters: int | None
    trainable: int | None
    visual_tokens: int | None
    train_flops: float | None
    train_seconds: float | None
    steps: int | None
    images: int | None
    text_tokens: int | None
    supervised_tokens: int | None
    core_seconds: float

    @classmethod
    def of(cls, record: Record) -> Facts:
        """From the record."""
        return cls(
            outcome=record.outcome,
            step=_value(record, "step"),
            parameters=_value(record, "parameters", "total"),
            trainable=_value(record, "parameters", "trainable"),
            visual_tokens=_value(record, "visual_tokens_per_image"),
            train_flops=_value(record, "train_flops"),
            train_seconds=_value(record, "train_seconds"),
            steps=_value(record, "steps"),
            images=_value(record, "images"),
            text_tokens=_value(record, "text_tokens"),
            supervised_tokens=_value(record, "supervised_tokens"),
            core_seconds=record.total_core_seconds,
        )

    def to_json(self) -> list[Any]:
        """The values in order; ``Facts(*values)`` are the same facts."""
        return list(astuple(self))


def _value(record: Record, *keys: str) -> Any:
    value: Any = record.summary
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
