"""Backbones of families that are not registered are refused by the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.models.families import LANGUAGE, VISION
from tests.synthetic import LANGUAGE as LANGUAGE_CONFIG
from tests.synthetic import VISION as VISION_CONFIG
from tests.synthetic import make_plan, write_backbone, write_sweep


@pytest.mark.parametrize(
    ("part", "config", "registry", "known"),
    [
        ("vision", {**VISION_CONFIG, "model_type": "swin"}, "VISION", VISION),
        ("language", {**LANGUAGE_CONFIG, "model_type": "swin"}, "LANGUAGE", LANGUAGE),
    ],
    ids=["vision", "language"],
)
def test_the_plan_says_where_a_family_is_added(
    part: str, config: dict[str, Any], registry: str, known: tuple[str, ...], tmp_path: Path
) -> None:
    folder = write_backbone(tmp_path / "strange", config, b"w")
    with pytest.raises(HarnessError, match="swin is no known family") as caught:
        make_plan(write_sweep(tmp_path), [f"model.{part}.backbone={folder}"])
    assert str(folder) in caught.value.message
    for part in ("harness/models/families/swin.py", f"a line to {registry} in", "A new backbone", ", ".join(known)):
        assert part in caught.value.remedy
