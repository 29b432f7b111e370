"""Which images of the official training files demonstrations come from, and which serve for tuning choices."""

from __future__ import annotations

import hashlib

POOLS = ("support", "validation", "test")


def partition(image_id: str | int) -> str:
    """``validation`` for a third of the images of the train2014 and TextVQA train files, ``support`` for the others.

    A pure function of the image id, so that all questions and captions of an image are on one side, in all benchmarks
    that share it: the first eight bytes of SHA-256 of ``partition IMAGE_ID``, as a big-endian number, divided by 3,
    leave no remainder.
    """
    number = int.from_bytes(hashlib.sha256(f"partition {image_id}".encode()).digest()[:8], "big")
    return "validation" if number % 3 == 0 else "support"
