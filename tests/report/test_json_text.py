from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.json_text import indented

text = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(-1e6, 1e6).map(lambda x: round(x, 4))
plain = st.none() | st.booleans() | numbers | text
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=20
)


@given(values)
def test_it_is_the_text_of_the_standard_library(value: Any) -> None:
    assert indented(value) == json.dumps(value, indent=2, ensure_ascii=False)


@pytest.mark.parametrize("value", [{}, [], {"a": {}}, {"a": []}, [[]], {"a": (1, 2)}, {"in 0": {"x": 10}}, "ö\n", 1e-9])
def test_corners(value: Any) -> None:
    assert json.loads(indented(value)) == json.loads(json.dumps(value))
