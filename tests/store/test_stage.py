from __future__ import annotations

import enum
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.store import Stage

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)
CONFIGS = st.dictionaries(st.text(), VALUES, max_size=6)


def stage(config: Any = None, **fields: Any) -> Stage:
    return Stage(**{"kind": "train", "version": 1, "config": {} if config is None else config, **fields})


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(item) for item in value] if isinstance(value, list) else value


@given(CONFIGS)
def test_the_order_of_keys_is_no_part_of_the_identity(config: dict[str, Any]) -> None:
    assert stage(config).id == stage(reordered(config)).id


@given(CONFIGS)
def test_a_stage_survives_its_file(config: dict[str, Any]) -> None:
    before = stage(config, inputs={"model": "0" * 16}, digests={"data": "x"}, slug="a", location={"data": "/d"})
    after = Stage.from_json(json.loads(json.dumps(before.to_json())))
    assert after == before
    assert after.digest == before.digest
    assert after.location == before.location


@given(CONFIGS, CONFIGS)
def test_different_configs_have_different_ids(one: dict[str, Any], other: dict[str, Any]) -> None:
    def spelled(value: Any) -> Any:  # Python calls 1, 1.0 and True equal
        return json.dumps(value, sort_keys=True)

    assert (stage(one).id == stage(other).id) == (spelled(one) == spelled(other))


@pytest.mark.parametrize("pair", [(1, 1.0), (1, True), (0, False), (1, "1"), (0.0, -0.0), (None, "null"), ([], {})])
def test_values_that_only_look_alike_differ(pair: tuple[Any, Any]) -> None:
    assert stage({"a": pair[0]}).id != stage({"a": pair[1]}).id


def test_names_and_places_are_no_part_of_the_identity() -> None:
    here = stage({"a": 1}, slug="tokens=36", location={"data": "/scratch/data"})
    there = stage({"a": 1}, slug="baseline", location={"data": "/home/data"})
    assert here == there
    assert hash(here) == hash(there)
    assert here.id == there.id
    assert here.name != there.name


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "evaluate"},
        {"version": 2},
        {"config": {"a": 2}},
        {"inputs": {"model": "1" * 16}},
        {"inputs": {"features": "0" * 16}},
        {"digests": {"data": "y"}},
        {"digests": {"vision": "x"}},
    ],
)
def test_everything_else_is_part_of_it(fields: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"config": {"a": 1}, "inputs": {"model": "0" * 16}, "digests": {"data": "x"}}
    assert stage(**usual).id != stage(**{**usual, **fields}).id


def test_ids_do_not_change_between_versions() -> None:
    """If this fails, every stored result has become unreachable."""
    config = {"b": [1, 2.5, None, True], "a": {"é": "\n", "rate": 1e-4}}
    found = stage(config, inputs={"model": "0123456789abcdef"}, digests={"data": "sha"})
    assert found.id == "7b2588ccdd5c3e7c"
    assert len(found.digest) == 64


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_refused_by_key(number: float) -> None:
    with pytest.raises(ValueError, match=r"config\.training\.rates\[1\]"):
        stage({"training": {"rates": [0.1, number]}})


class Kind(enum.StrEnum):
    LINEAR = "linear"


@pytest.mark.parametrize(
    "value", [(1, 2), {1, 2}, b"x", numpy.float64(0.1), numpy.int64(1), Path("/x"), Kind.LINEAR, object(), print]
)
def test_values_that_json_lacks_are_refused_by_key(value: Any) -> None:
    with pytest.raises(TypeError, match=r"config\.model\.connector"):
        stage({"model": {"connector": value}})


def test_keys_that_json_lacks_are_refused() -> None:
    with pytest.raises(TypeError, match=r"config\.levels"):
        stage({"levels": {1: "a"}})


def test_a_config_that_contains_itself_is_refused() -> None:
    config: dict[str, Any] = {}
    config["a"] = [config]
    with pytest.raises(ValueError, match="deeper"):
        stage(config)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"kind": "../x"}, "kind"),
        ({"kind": ""}, "kind"),
        ({"version": "1"}, "version"),
        ({"version": True}, "version"),
        ({"inputs": {"model": "../../etc"}}, "inputs.model"),
        ({"inputs": {"model": 3}}, "inputs.model"),
        ({"digests": {"data": None}}, "digests.data"),
        ({"location": {"data": Path("/x")}}, "location.data"),
    ],
)
def test_other_fields_are_checked_too(fields: dict[str, Any], name: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(name)):
        stage(**fields)


def test_what_is_hashed_cannot_be_changed_from_outside() -> None:
    config: dict[str, Any] = {"a": {"b": [1]}}
    made = stage(config)
    config["a"]["b"].append(2)
    assert made.config == {"a": {"b": [1]}}


@given(st.text(max_size=300))
def test_any_slug_makes_a_harmless_file_name(slug: str) -> None:
    made = stage(slug=slug)
    assert re.fullmatch(r"[A-Za-z0-9._=,+-]{16,120}", made.name)
    assert made.name.endswith(made.id)
    assert not made.name.startswith((".", "-"))


@pytest.mark.parametrize("change", [{"digest": "0" * 64}, {"config": {"a": 2}}, {"kind": 7}, {"inputs": None}])
def test_a_file_that_was_changed_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"digest|not a stage"):
        Stage.from_json({**stage({"a": 1}).to_json(), **change})
