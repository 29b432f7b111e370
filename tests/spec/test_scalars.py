from __future__ import annotations

import pytest

from harness.spec.scalars import UnclearError, name, plain


@pytest.mark.parametrize(
    "text", ["no", "yes", "on", "off", "y", "N", "1:30", "1_000", "2024-01-01", "0o", "1e", "-", "."]
)
def test_words_of_yaml_1_1_stay_text(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("1E3", 1000.0), ("1.", 1.0), (".5", 0.5), ("-2.5e+1", -25.0), ("0.0", 0.0),
        ("0", 0), ("-7", -7), ("+7", 7), ("0x1F", 31), ("0o17", 15),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
    ],
)  # fmt: skip
def test_numbers_and_words_of_yaml_1_2(text: str, value: object) -> None:
    assert plain(text) == value
    assert type(plain(text)) is type(value)


@pytest.mark.parametrize("text", ["012", "-01", ".inf", "-.INF", ".nan", "1e999", "9" * 41, "1." + "0" * 200])
def test_unclear_numbers_are_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(UnclearError) as caught:
        plain(text)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("value", "text"),
    [(36, "36"), (1e-4, "0.0001"), (True, "true"), (None, "null"), ("a b", "a b"), ([1], None), ({}, None)],
)
def test_names_of_levels(value: object, text: str | None) -> None:
    assert name(value) == text
