"""COCO captions (Chen et al. 2015): five reference captions an image."""

from __future__ import annotations

from harness.evaluate.tasks.base import CaptionTask


class CocoCaptions(CaptionTask):
    """Scored with CIDEr-D; document frequencies are those of the whole split, however few images are evaluated."""

    name = "coco"
    metrics = ("cider-d", "cider-d-java")
