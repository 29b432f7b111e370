from __future__ import annotations

import copy

import pytest

from harness.spec.patches import assign
from harness.spec.references import Resolver

TREE = {"a": {"b": [1, {"c": 2}], "d": {"e": 3}}, "r": "${a.d}", "n": None}


def patched(path: tuple, value: object) -> dict:
    before = copy.deepcopy(TREE)
    result = assign(TREE, path, value, Resolver(TREE))
    assert before == TREE, "the original is never touched"
    return result


def test_scalars_and_lists_replace_mappings_merge() -> None:
    assert patched(("a", "d", "e"), 4)["a"] == {"b": [1, {"c": 2}], "d": {"e": 4}}
    assert patched(("a", "b"), [])["a"]["b"] == []
    assert patched(("a", "d"), {"f": 5})["a"]["d"] == {"e": 3, "f": 5}
    assert patched(("a", "d"), 7)["a"]["d"] == 7


def test_missing_mappings_are_made() -> None:
    assert patched(("x", "y"), 1)["x"] == {"y": 1}
    assert patched(("n", "y"), 1)["n"] == {"y": 1}


def test_items_of_lists() -> None:
    assert patched(("a", "b", 1, "c"), 9)["a"]["b"] == [1, {"c": 9}]
    for path, said in [(("a", "b", 2), "2 items"), (("a", "b", "c"), "is a list"), (("a", "d", 0), "not a list")]:
        with pytest.raises(ValueError, match=said):
            patched(path, 1)


def test_what_is_beside_the_path_is_shared() -> None:
    assert patched(("a", "d", "e"), 4)["a"]["b"] is TREE["a"]["b"]


def test_a_reference_on_the_way_is_followed_and_its_target_kept() -> None:
    result = patched(("r", "f"), 1)
    assert result["r"] == {"e": 3, "f": 1}
    assert result["a"]["d"] == {"e": 3}
