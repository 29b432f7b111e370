from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.spec.references import MAX_CHAIN, Resolver, UnresolvedError, template


def resolve(tree: dict, key: str = "x") -> object:
    return Resolver(tree).resolve(tree[key], (key,))


def failure(tree: dict, key: str = "x") -> UnresolvedError:
    with pytest.raises(UnresolvedError) as caught:
        resolve(tree, key)
    return caught.value


def test_a_lone_reference_takes_the_value_with_its_type() -> None:
    tree = {"sizes": {"tokens": 36, "ladder": [4, 36], "rates": {"a": 1e-3}}}
    for text, value in [
        ("${sizes.tokens}", 36),
        ("${sizes.ladder[1]}", 36),
        ("${sizes.ladder}", [4, 36]),
        ("${sizes.rates}", {"a": 1e-3}),
    ]:
        assert resolve({**tree, "x": text}) == value
    assert resolve({**tree, "x": [{"y": "${sizes.tokens}"}]}) == [{"y": 36}]


def test_references_inside_a_text_are_written_out() -> None:
    tree = {"a": {"n": 3, "r": 1e-4, "t": "w", "b": True}, "x": "$ ${a.t}-${a.n}/${a.r}_${a.b} $"}
    assert resolve(tree) == "$ w-3/0.0001_true $"


def test_references_lead_through_references() -> None:
    tree = {"a": "${b}", "b": {"c": ["${d}"]}, "d": 5, "x": "${a.c[0]}"}
    assert resolve(tree) == 5


@pytest.mark.parametrize(
    "text",
    ["${oc.env:HOME}", "${env:HOME}", "x ${now:} y", "${a:}", "${:a}", "${oc.decode:${a}}", "${a.b:c,d}"],
)
def test_resolvers_are_refused_wherever_they_stand(text: str) -> None:
    with pytest.raises(ValueError, match="resolver"):
        template(text)


@pytest.mark.parametrize(
    "text",
    [
        "${",
        "${}",
        "${a",
        "${.a}",
        "${..a}",
        "${a.}",
        "${a b}",
        "${a[x]}",
        "${a[-1]}",
        "${a.${b}}",
        "${a.b}${",
        "${[0]}",
        "${0}",
    ],
)
def test_anything_but_plain_references_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"reference|closed"):
        template(text)


@pytest.mark.parametrize("text", ["", "a", "$a", "$ {a}", "{a}", "a$"])
def test_texts_without_references_are_left_alone(text: str) -> None:
    assert template(text) is None


@pytest.mark.parametrize(
    "tree",
    [
        {"x": "${x}"},
        {"x": "${a}", "a": "${b}", "b": "${a}"},
        {"x": {"y": "${x}"}},
        {"x": {"y": "${x.y}"}},
        {"x": ["${a.b}"], "a": {"b": {"c": "${a}"}}},
        {"x": "${a.b}", "a": "${a.b}"},
        {"x": "p${a}", "a": "q${b}", "b": "r${a}"},
    ],
)
def test_cycles_are_refused(tree: dict) -> None:
    assert "cycle" in failure(tree).message


def test_a_cycle_names_its_place_and_its_members() -> None:
    error = failure({"x": 1, "a": {"p": "${b.q}"}, "b": {"q": "${a.p}"}}, "a")
    assert error.site in {("a", "p"), ("b", "q")}
    assert "a.p" in error.message
    assert "b.q" in error.message


def test_two_uses_of_one_value_are_no_cycle() -> None:
    assert resolve({"x": ["${a}", "${a}"], "a": {"b": "${c}"}, "c": 1}) == [{"b": 1}, {"b": 1}]
    assert resolve({"x": {"y": "${x.z}", "z": 3}}) == {"y": 3, "z": 3}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("${sizes.token}", "${sizes.tokens}"),
        ("${size.tokens}", "${sizes}"),
        ("${sizes.ladder[2]}", "list of 1"),
        ("${sizes.tokens.x}", "single value"),
    ],
)
def test_a_reference_to_nothing_says_what_is_there(text: str, hint: str) -> None:
    error = failure({"sizes": {"tokens": 1, "ladder": [1]}, "x": {"y": [text]}})
    assert error.site == ("x", "y", 0)
    assert "nothing" in error.message
    assert hint in error.remedy


def test_lists_cannot_stand_inside_a_text() -> None:
    assert "cannot stand inside a text" in failure({"x": "a ${b}", "b": [1]}).message


def test_bombs_are_refused_before_they_grow() -> None:
    doubling = {f"a{i}": [f"${{a{i + 1}}}"] * 2 for i in range(30)} | {"a30": 1, "x": "${a0}"}
    assert "more than" in failure(doubling).message
    texts = {f"a{i}": f"${{a{i + 1}}}" * 2 for i in range(30)} | {"a30": "y", "x": "${a0}"}
    assert "grows" in failure(texts).message


def test_long_chains_are_refused_without_exhausting_the_stack() -> None:
    chain = {f"a{i}": f"${{a{i + 1}}}" for i in range(5000)} | {"a5000": 1, "x": "${a0}"}
    assert "chain" in failure(chain).message
    short = {f"a{i}": f"${{a{i + 1}}}" for i in range(MAX_CHAIN - 2)} | {f"a{MAX_CHAIN - 2}": 1, "x": "${a0}"}
    assert resolve(short) == 1
    deep: dict = {"x": "${a0}"}
    for i in range(MAX_CHAIN - 1):
        node: object = f"${{a{i + 1}}}"
        for _ in range(45):
            node = [node]
        deep[f"a{i}"] = node
    assert "nest" in failure(deep | {f"a{MAX_CHAIN - 1}": 1}).message


_names = st.sampled_from(["a", "b", "c"])
_refs = st.builds(lambda path: "${" + ".".join(path) + "}", st.lists(_names, min_size=1, max_size=3))
_nodes = st.recursive(
    st.integers(0, 9) | _refs | st.builds("{}{}".format, _refs, _refs),
    lambda v: st.dictionaries(_names, v, max_size=3) | st.lists(v, max_size=2),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(_names, _nodes, max_size=3))
def test_any_tangle_is_either_resolved_or_refused(tree: dict) -> None:
    for key in tree:
        with suppress(UnresolvedError):
            assert "${" not in repr(resolve(tree, key))
