from __future__ import annotations

import pytest

from harness.errors import SpecError
from harness.spec.overrides import parse_overrides
from harness.spec.report import Report


def parsed(*texts: str) -> list[tuple]:
    report = Report()
    found = [(override.path, override.value) for override in parse_overrides(texts, report)]
    report.raise_if_any()
    return found


def test_values_are_yaml() -> None:
    assert parsed("seeds=[0,1,2]", "a.b[0]=x", "r=1e-3", "n=", "t='3'", "m={a: 1}", "e=a=b", " k =1") == [
        (("seeds",), [0, 1, 2]),
        (("a", "b", 0), "x"),
        (("r",), 1e-3),
        (("n",), None),
        (("t",), "3"),
        (("m",), {"a": 1}),
        (("e",), "a=b"),
        (("k",), 1),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "seeds",
        "=1",
        "a..b=1",
        "[0]=1",
        "a=[1",
        "a={b: 1, b: 2}",
        "a=!!python/name:os.system x",
        "a=*x",
        "a=1\n---\n2",
        "",
    ],
)
def test_what_cannot_be_read_is_refused_with_the_text_as_place(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parsed(text)
    (problem,) = caught.value.problems
    assert problem.file.startswith("override ")
    assert problem.line == 0
    assert problem.remedy


def test_all_wrong_overrides_are_shown() -> None:
    with pytest.raises(SpecError) as caught:
        parsed("a", "b=[", "c=1", "=d")
    assert len(caught.value.problems) == 3


def test_hostile_overrides_do_not_reach_the_terminal() -> None:
    with pytest.raises(SpecError) as caught:
        parsed("\x1b[31m", "a\x1b=\x1b", "\udcff=1", "a=\udcff")
    assert "\x1b" not in str(caught.value)
    str(caught.value).encode()


def test_a_single_text_is_a_programming_error() -> None:
    with pytest.raises(TypeError):
        parse_overrides("seeds=[0]", Report())
