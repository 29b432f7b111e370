from __future__ import annotations

import pytest

from harness.errors import SpecError
from harness.spec.place import Place
from harness.spec.report import MAX_SHOWN, Report, nearest, shown, shown_key, suggestion


def raised(report: Report) -> SpecError:
    with pytest.raises(SpecError) as caught:
        report.raise_if_any()
    return caught.value


def test_problems_are_shown_once_in_the_order_of_the_lines() -> None:
    report = Report()
    for line in (7, 3, 7):
        report.add("wrong", Place("f", line, 1), ("a", 0), "mend it")
    assert [str(problem) for problem in raised(report).problems] == [
        "f:3:1: a[0]: wrong\n  → mend it",
        "f:7:1: a[0]: wrong\n  → mend it",
    ]


def test_nothing_wrong_is_no_error() -> None:
    Report().raise_if_any()


def test_very_many_problems_are_cut_with_their_number() -> None:
    report = Report()
    for line in range(MAX_SHOWN + 7):
        report.add("wrong", Place("f", line + 1))
    problems = raised(report).problems
    assert len(problems) == MAX_SHOWN + 1
    assert "7 more" in problems[-1].message


def test_problems_of_another_error_are_taken_over_with_their_places() -> None:
    first = Report()
    first.add("wrong", Place("f", 2, 3), "k", "mend it")
    second = Report()
    second.absorb(raised(first))
    assert raised(second).problems == raised(first).problems


@pytest.mark.parametrize(
    ("word", "known", "match"),
    [
        ("num_token", ["num_tokens", "depth"], "num_tokens"),
        ("num-tokens", ["num_tokens"], "num_tokens"),
        ("DEPTH", ["depth"], "depth"),
        ("zebra", ["num_tokens"], None),
        ("x", [], None),
        ("a" * 100_000, ["a" * 10], None),
    ],
)
def test_nearest_spellings(word: str, known: list[str], match: str | None) -> None:
    assert nearest(word, known) == match


def test_suggestions() -> None:
    assert suggestion("dept", ["depth", "kind"]) == "did you mean depth?"
    assert suggestion("zebra", ["depth", "kind"], "keys") == "keys: depth, kind"
    assert suggestion("zebra", [], "factors") == "there are no factors here"


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (None, "nothing (null)"), ({}, "a mapping"), ([1], "a list"), ("a", "'a'"), (1.0, "1.0")],
)
def test_values_as_a_user_would_write_them(value: object, text: str) -> None:
    assert shown(value) == text


def test_what_is_shown_is_short_and_harmless() -> None:
    assert len(shown("x" * 1000)) == 60
    assert "\x1b" not in shown("\x1b[31m")
    assert shown_key("a\x1bb\udcff").isprintable()
    assert len(shown_key("x" * 1000)) == 120
