from __future__ import annotations

import pytest
import torch

from harness.models import FeatureInputs, ModelInputs, PixelInputs


def test_ids_that_are_not_integers_are_refused() -> None:
    ids = torch.zeros(1, 3)
    with pytest.raises(TypeError, match="float32"):
        ModelInputs(ids, ids.long(), ids.long())


@pytest.mark.parametrize("name", ["position_ids", "document_ids", "labels"])
def test_shapes_must_agree(name: str) -> None:
    values = {
        key: torch.zeros(2, 3, dtype=torch.long) for key in ("input_ids", "position_ids", "document_ids", "labels")
    }
    values[name] = values[name][:, :2]
    with pytest.raises(ValueError, match=name):
        ModelInputs(**values)


def test_rows_from_an_attention_mask() -> None:
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]])
    inputs = ModelInputs.of_rows(torch.arange(8).view(2, 4), mask)
    assert inputs.position_ids.tolist() == [[0, 0, 0, 1], [0, 1, 2, 2]]
    assert inputs.document_ids.tolist() == mask.tolist()
    whole = ModelInputs.of_rows(torch.arange(8).view(2, 4))
    assert whole.position_ids.tolist() == [[0, 1, 2, 3]] * 2


@pytest.mark.parametrize(
    "images", [None, PixelInputs(torch.zeros(1, 3, 2, 2)), FeatureInputs(torch.zeros(1, 4, 5), (2, 2))]
)
def test_moving_to_a_device_moves_everything(images: PixelInputs | FeatureInputs | None) -> None:
    ids = torch.zeros(1, 3, dtype=torch.long)
    moved = ModelInputs(ids, ids, ids, images, ids).to("meta")
    tensors = [moved.input_ids, moved.position_ids, moved.document_ids, moved.labels]
    if images is not None:
        tensors.append(moved.images.pixels if isinstance(moved.images, PixelInputs) else moved.images.features)
    assert {tensor.device.type for tensor in tensors} == {"meta"}
