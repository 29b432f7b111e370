from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data.captions import read_captions
from harness.errors import HarnessError

IMAGES = [{"id": 42, "file_name": "COCO_val2014_000000000042.jpg"}, {"id": 7, "file_name": "seven.png"}]
CAPTIONS = [
    {"image_id": 7, "id": 1, "caption": "A dog."},
    {"image_id": 42, "id": 2, "caption": "A cat."},
    {"image_id": 7, "id": 3, "caption": "One dog."},
]


def _file(folder: Path, images: list[Any], annotations: list[Any]) -> Path:
    path = folder / "c.json"
    path.write_text(json.dumps({"annotations": annotations, "info": {}, "licenses": [], "images": images}))
    return path


def test_an_image_has_all_its_captions(tmp_path: Path) -> None:
    cat, dog = read_captions(_file(tmp_path, IMAGES, CAPTIONS), "val2014")
    assert (cat.sample_id, cat.image_id, cat.answers) == (42, "42", ("A cat.",))
    assert (dog.image, dog.answers) == ("coco/val2014/seven.png", ("A dog.", "One dog."))


@pytest.mark.parametrize(
    ("images", "annotations", "message"),
    [
        (IMAGES[:1], CAPTIONS, r"annotations\[0\]: image 7 is not in the list"),
        (IMAGES, CAPTIONS[:1], "image 42: has no caption"),
        ([*IMAGES, IMAGES[0]], CAPTIONS, r"images\[2\]: image 42 occurs twice"),
        ([{"id": 42, "file_name": "../x.jpg"}], CAPTIONS, "not a plain name"),
        (IMAGES, [*CAPTIONS, {"image_id": 42, "caption": " "}], r"annotations\[3\]: caption is empty"),
        (IMAGES, [{"image_id": 42, "caption": ["A"]}], "text is expected"),
    ],
)
def test_wrong_records_are_named(tmp_path: Path, images: list[Any], annotations: list[Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        read_captions(_file(tmp_path, images, annotations), "val2014")
