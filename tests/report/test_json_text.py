from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.json_text import indented

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)


@given(values)
def test_it_is_the_text_of_the_standard_library(value: Any) -> None:
    assert indented(value) == json.dumps(value, indent=2, ensure_ascii=False)


@pytest.mark.parametrize(
    "value", [{}, [], {"a": {}}, {"a": []}, [[]], {1: 2, None: [3]}, {"a": (1, 2)}, {"ends in 0": {"x": 10}}, "ö\n"]
)
def test_corners(value: Any) -> None:
    assert indented(value) == json.dumps(value, indent=2, ensure_ascii=False)
