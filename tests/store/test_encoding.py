from __future__ import annotations

import json
import math
from pathlib import Path

import numpy
import pytest
import torch

from harness.store.encoding import differences, reportable


def test_reports_take_what_training_code_produces() -> None:
    value = {
        "loss": numpy.float32(0.5),
        "steps": numpy.int64(3),
        "rate": torch.tensor(0.25),
        "nan": math.nan,
        "infinite": [numpy.float64("inf"), float("-inf")],
        "shape": (1, 2),
        "path": Path("/x"),
        1: numpy.bool_(True),
        "array": numpy.arange(3),
    }
    expected = {
        "loss": 0.5,
        "steps": 3,
        "rate": 0.25,
        "nan": None,
        "infinite": [None, None],
        "shape": [1, 2],
        "path": "/x",
        "1": True,
        "array": [0, 1, 2],
    }
    assert reportable(value) == expected
    json.dumps(reportable(value), allow_nan=False)


def test_reports_refuse_what_has_no_meaning_as_json() -> None:
    with pytest.raises(TypeError, match="function"):
        reportable({"a": test_reports_refuse_what_has_no_meaning_as_json})


def test_differences_are_named_by_key_and_types_count() -> None:
    stored = {"a": 1, "b": {"c": [1, 2], "gone": None}, "same": 3}
    expected = {"a": 1.0, "b": {"c": [1, 3], "new": "x"}, "same": 3}
    assert list(differences(stored, expected)) == [
        "a: 1 → 1.0",
        "b.c: [1,2] → [1,3]",
        "b.gone: null → (absent)",
        'b.new: (absent) → "x"',
    ]
