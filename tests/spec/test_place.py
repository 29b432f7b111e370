from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.spec.place import Mark, Origins, Place, dotted, fit, leaves, nodes, parse_key


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a", ("a",)),
        ("a.b", ("a", "b")),
        ("a[0].b", ("a", 0, "b")),
        ("a[0][1]", ("a", 0, 1)),
        ("a-b.c_d", ("a-b", "c_d")),
    ],
)
def test_keys_are_read_and_written_back(text: str, path: tuple[str | int, ...]) -> None:
    assert parse_key(text) == path
    assert dotted(path) == text


@pytest.mark.parametrize("text", ["", ".a", "a.", "a..b", "a[", "a[x]", "a]", "[", "a[-1]", "a[9999999]"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="key"):
        parse_key(text)


_segments = st.text(st.characters(exclude_characters=".[]"), min_size=1, max_size=5)


@given(
    st.lists(_segments | st.integers(0, 999_999), min_size=1, max_size=6).filter(lambda path: isinstance(path[0], str))
)
def test_every_path_survives_writing_and_reading(path: list[str | int]) -> None:
    assert parse_key(dotted(path)) == tuple(path)


def test_keys_that_contain_dots_are_found_in_the_tree() -> None:
    tree = {"levels": {"average": {"model.connector.kind": "average_pool", "model": 1}}}
    path = parse_key("levels.average.model.connector.kind")
    assert fit(tree, path) == ("levels", "average", "model.connector.kind")
    assert fit(tree, parse_key("levels.other.a.b")) == ("levels", "other", "a", "b")


def test_the_strongest_layer_that_wrote_a_path_is_its_origin() -> None:
    def mark(line: int, is_mapping: bool = False) -> Mark:
        return Mark(Place("f", line, 1), Place("f", line, 5), is_mapping)

    below = {("a",): mark(1, True), ("a", "b"): mark(2)}
    origins = Origins([below, {("a",): mark(3, True)}], Place("f", 9, 9))
    assert origins.key(("a",)).line == 3
    assert origins.key(("a", "b")).line == 2
    assert origins.value(("a", "c", 0)) == Place("f", 3, 5)
    assert origins.key(("z",)) == Place("f", 9, 9)
    assert origins.exact(("a", "b"), skip=1) is None
    assert [origins.rank(path) for path in [("a",), ("a", "b"), ("z",)]] == [1, 0, -1]
    replaced = Origins([below, {("a",): mark(3)}], Place("f", 9, 9))
    assert replaced.key(("a", "b")).line == 3, "a value that replaces a mapping hides what was in it"
    assert replaced.rank(("a", "b")) == 1


def test_nodes_are_leaves_and_all_above_them() -> None:
    tree = {"a": [1, {"b": 2}], "c": {}}
    assert [path for path, _ in nodes(tree)] == [("a",), ("a", 0), ("a", 1), ("a", 1, "b"), ("c",)]


def test_leaves_have_their_paths() -> None:
    assert dict(leaves({"a": [1, {"b": 2}], "c": {}})) == {("a", 0): 1, ("a", 1, "b"): 2}
