from __future__ import annotations

import pytest

from harness.report.layout import columns, width
from harness.report.quantities import count, duration, quantity


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1000, "1.00 k"),
        (12_345, "12.3 k"),
        (999_600, "1.00 M"),
        (2_120_576, "2.12 M"),
        (99_960_000, "100 M"),
        (11_037_612_441_600, "11.0 T"),
        (3.2e18, "3200 P"),
    ],
)
def test_quantity(value: float | None, text: str) -> None:
    assert quantity(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (75, "1 min 15 s"),
        (3599.6, "1 h 00 min"),
        (3700, "1 h 02 min"),
        (172_700, "47 h 58 min"),
        (172_790, "2 d 00 h"),
        (400_000, "4 d 15 h"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_count() -> None:
    assert (count(1, "stage"), count(2, "stage"), count(2, "process", "processes")) == (
        "1 stage",
        "2 stages",
        "2 processes",
    )


def test_columns_align_and_end_where_the_text_does() -> None:
    assert columns([("a", "1"), ("long", "22")], "<>") == ["a      1", "long  22"]
    assert columns([("a", ""), ("b", "x")]) == ["a", "b  x"]
    assert columns([]) == []


def test_wide_letters_take_two_columns() -> None:
    assert width("图ab") == 4
    assert columns([("图", "x"), ("abc", "y")]) == ["图   x", "abc  y"]
