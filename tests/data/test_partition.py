from __future__ import annotations

import hashlib
from collections import Counter

from harness.data.partition import partition


def test_a_third_of_the_images_is_for_validation() -> None:
    counts = Counter(partition(image_id) for image_id in range(6000))
    assert set(counts) == {"support", "validation"}
    assert abs(counts["validation"] / 6000 - 1 / 3) < 0.02


def test_it_is_the_documented_function_of_the_image_id() -> None:
    for image_id in (9, 42, 581929, "003a4ae2ef43eaec"):
        number = int(hashlib.sha256(f"partition {image_id}".encode()).hexdigest()[:16], 16)
        assert partition(image_id) == partition(str(image_id)) == ("validation" if number % 3 == 0 else "support")
