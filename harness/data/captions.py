"""COCO captions from the official file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.data.example import Example
from harness.data.fields import Record
from harness.data.layout import COCO_IMAGES
from harness.data.stream import read_document


def read_captions(file: Path, subtype: str) -> list[Example]:
    """One example an image of ``captions_SUBTYPE.json``, its captions in the order of the file, images in theirs.

    Raises HarnessError for a caption without image and for an image without caption.
    """
    names: dict[int, str] = {}

    def image(index: int, value: Any) -> None:
        record = Record(file, f"images[{index}]", value)
        image_id = record.number("id")
        if image_id in names:
            record.fail(f"image {image_id} occurs twice")
        name = record.text("file_name")
        if "/" in name or "\\" in name or name.startswith("."):
            record.fail(f"file_name {name!r} is not a plain name")
        names[image_id] = name

    read_document(file, "images", image)
    captions: dict[int, list[str]] = {image_id: [] for image_id in names}

    def annotation(index: int, value: Any) -> None:
        record = Record(file, f"annotations[{index}]", value)
        image_id = record.number("image_id")
        if image_id not in captions:
            record.fail(
                f"image {image_id} is not in the list of images", "the file is incomplete: copy or download it again"
            )
        captions[image_id].append(record.text("caption"))

    read_document(file, "annotations", annotation)
    without = next((image_id for image_id, texts in captions.items() if not texts), None)
    if without is not None:
        Record(file, f"image {without}", None).fail(
            "has no caption", "the file is incomplete: copy or download it again"
        )
    return [
        Example(
            sample_id=image_id,
            image_id=str(image_id),
            image=f"{COCO_IMAGES}/{subtype}/{names[image_id]}",
            question="",
            answers=tuple(texts),
            raw_answers=(),
            consensus="",
            question_type="",
            answer_type="",
        )
        for image_id, texts in captions.items()
    ]
