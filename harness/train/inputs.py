"""From packed rows to what the model takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from harness.data.packing import PackedRows
from harness.models.inputs import ModelInputs


def to_model_inputs(rows: PackedRows, images: Callable[[Sequence[str]], Any]) -> ModelInputs:
    """Rows [R, T] with their images loaded by key."""
    return ModelInputs(
        input_ids=torch.from_numpy(rows.ids),
        labels=torch.from_numpy(rows.labels),
        position_ids=torch.from_numpy(rows.positions),
        document_ids=torch.from_numpy(rows.documents),
        images=images(rows.images) if rows.images else None,
    )
