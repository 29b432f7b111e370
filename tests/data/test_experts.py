from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data.archive import ArchiveWriter
from harness.data.experts import ExpertLabels
from harness.data.manifest import VerifiedFiles
from harness.errors import HarnessError


def _labels(root: Path, objects: Any, shard: str = "a.tar") -> ExpertLabels:
    (root / "experts").mkdir(exist_ok=True)
    with ArchiveWriter(root / "experts" / shard) as archive:
        archive.add("k.objects.json", json.dumps(objects).encode() if not isinstance(objects, bytes) else objects)
    return ExpertLabels(VerifiedFiles(root, None))


def test_labels_are_found_by_the_name_of_the_picture(tmp_path: Path) -> None:
    labels = _labels(tmp_path, [{"id": 1, "label": "sign", "class": 1, "box": [1, 2, 3, 4], "text": "exit"}])
    for key in ("coco/val2014/k.jpg", "train/pairs-00000.tar::k.jpg", "train/a.tar::x/k.png"):
        assert key in labels
        (found,) = labels.objects(key)
        assert (found.label, found.box, found.text) == ("sign", (1, 2, 3, 4), "exit")
    assert "coco/val2014/j.jpg" not in labels
    with pytest.raises(HarnessError, match="no labels of"):
        labels.objects("coco/val2014/j.jpg")


@pytest.mark.parametrize("objects", [{}, [3], [{"id": 1, "label": "dog", "class": 2, "box": [1, 2, 3]}], b"{"])
def test_wrong_labels_are_named(tmp_path: Path, objects: Any) -> None:
    with pytest.raises(HarnessError, match=r"a\.tar: k\.objects\.json"):
        _labels(tmp_path, objects).objects("k.jpg")


def test_two_labels_of_one_name_are_refused(tmp_path: Path) -> None:
    _labels(tmp_path, [])
    with pytest.raises(HarnessError, match=r"both a\.tar and b\.tar"):
        _labels(tmp_path, [], "b.tar").objects("k.jpg")
