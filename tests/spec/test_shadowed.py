"""Overrides of what every level of a factor sets."""

from __future__ import annotations

from collections.abc import Callable

import pytest

FACTORS = """factors:
  tokens: {key: model.connector.num_tokens, levels: [4, 36]}
  pooling:
    levels:
      average: {model.connector.kind: average_pool}
      perceiver: {model.connector.kind: perceiver, model.connector.depth: 2}
"""


@pytest.mark.parametrize(
    ("override", "key", "factor"),
    [
        ("model.connector.num_tokens=16", "model.connector.num_tokens", "tokens"),
        ("model.connector={num_tokens: 16}", "model.connector.num_tokens", "tokens"),
        ("model.connector.kind=mlp", "model.connector.kind", "pooling"),
    ],
)
def test_an_override_that_every_level_writes_over(refuse: Callable, override: str, key: str, factor: str) -> None:
    (problem,) = refuse(FACTORS, override)
    assert problem.file == f"override {override!r}"
    assert problem.key == key
    assert problem.message.startswith(f"without effect: every level of the factor {factor} (line ")
    assert problem.remedy == f"change factors.{factor}.levels, or remove the factor with factors.{factor}=null"


def test_levels_that_set_a_mapping_decide_its_keys_and_leave_the_others(refuse: Callable, accept: Callable) -> None:
    mapped = """factors:
  pooling:
    levels:
      average: {model.connector: {kind: average_pool}}
      perceiver: {model.connector: {kind: perceiver}}
"""
    (problem,) = refuse(mapped, "model.connector.kind=mlp")
    assert problem.key == "model.connector.kind"
    assert {v.config.model.connector.num_tokens for v in accept(mapped, "model.connector.num_tokens=16").variants} == {
        16
    }


def test_all_of_them_are_told_at_once(refuse: Callable) -> None:
    problems = refuse(FACTORS, "model.connector.num_tokens=16", "model.connector.kind=mlp")
    assert [problem.key for problem in problems] == ["model.connector.num_tokens", "model.connector.kind"]


def test_what_the_remedy_says_works(accept: Callable) -> None:
    assert len(accept(FACTORS, "factors.tokens=null", "model.connector.num_tokens=16").variants) == 2
    sweep = accept(FACTORS, "factors.tokens.levels=[16]")
    assert {variant.config.model.connector.num_tokens for variant in sweep.variants} == {16}


def test_an_override_that_some_variant_keeps_is_fine(accept: Callable) -> None:
    sweep = accept(FACTORS, "model.connector.depth=3")
    assert {variant.config.model.connector.depth for variant in sweep.variants} >= {2}
    plain = FACTORS.replace("{model.connector.kind: average_pool}", "{}")
    assert len(accept(plain, "model.connector.kind=average_pool").variants) == 4


def test_a_level_that_no_variant_has_saves_no_override(refuse: Callable) -> None:
    text = FACTORS.replace("average: {model.connector.kind: average_pool}", "average: {}")
    (problem,) = refuse(
        text + "baseline: {pooling: perceiver}\nexclude: [{pooling: average}]\n", "model.connector.kind=average_pool"
    )
    assert problem.key == "model.connector.kind"


def test_the_same_in_the_file_is_a_default(accept: Callable) -> None:
    assert len(accept("model: {connector: {num_tokens: 16}}\n" + FACTORS).variants) == 4
