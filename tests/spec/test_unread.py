from __future__ import annotations

from collections.abc import Callable

import pytest

POOLING = (
    "factors:\n  pooling:\n    levels:\n      average: {model.connector.kind: average_pool}\n"
    "      perceiver: {model.connector.kind: perceiver}\n"
)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("linear", "num_tokens", 36),
        ("mlp", "mlp_ratio", 2),
        ("average_pool", "depth", 3),
        ("average_pool", "num_heads", 4),
    ],
)
def test_a_key_that_the_connector_does_not_read(refuse: Callable, kind: str, key: str, value: int) -> None:
    (problem,) = refuse(f"model:\n  connector:\n    kind: {kind}\n    §{key}: {value}\n")
    assert problem.key == f"model.connector.{key}"
    assert kind in problem.message
    assert "perceiver" in problem.remedy
    (problem,) = refuse(f"model: {{connector: {{kind: {kind}}}}}\n", f"model.connector.{key}={value}")
    assert problem.file.startswith("override")


def test_a_key_that_the_fusion_does_not_read(refuse: Callable, accept: Callable) -> None:
    (problem,) = refuse("model: {fusion: {kind: autoregressive, §cross_attn_every: 2}}\n")
    assert problem.key == "model.fusion.cross_attn_every"
    assert "cross_attention" in problem.remedy
    accept("model: {fusion: {kind: cross_attention, cross_attn_every: 2}}\n")


def test_a_width_that_the_parameters_set(refuse: Callable, accept: Callable) -> None:
    text = "model:\n  connector: {kind: mlp, parameters: 5e5, §hidden_size: 64}\n"
    (problem,) = refuse(text)
    assert problem.key == "model.connector.hidden_size"
    assert "unless parameters sets it" in problem.remedy
    (problem,) = refuse("model: {connector: {kind: perceiver, §parameters: 5e5}}\n")
    assert problem.remedy == (
        "remove it; parameters is read by mlp, average_pool, c_abstractor, mapping_network, resampler"
    )
    connector = accept("model: {connector: {kind: mlp, parameters: 5e5}}\n").baseline.config.model.connector
    assert connector.hidden_size is None, "the recipe's is dropped"


def test_the_same_key_from_a_recipe_is_a_default(accept: Callable) -> None:
    connector = accept("model: {connector: {kind: linear}}\n").baseline.config.model.connector
    assert connector.model_dump() == {"kind": "linear", "output_norm": None}


def test_a_key_that_some_variant_reads_is_fine_and_told_apart_only_there(accept: Callable) -> None:
    three = accept(POOLING)
    six = accept("model: {connector: {depth: 6}}\n" + POOLING)
    digests = [{v.name: v.digest for v in sweep.variants} for sweep in (three, six)]
    assert digests[0]["pooling=average"] == digests[1]["pooling=average"]
    assert digests[0]["pooling=perceiver"] != digests[1]["pooling=perceiver"]


def test_a_level_that_contradicts_its_own_connector(refuse: Callable) -> None:
    (problem,) = refuse(POOLING.replace("average_pool}", "average_pool, §model.connector.depth: 2}"))
    assert problem.key == "model.connector.depth"
    assert "average_pool" in problem.message
    assert "perceiver" not in problem.message
    (problem,) = refuse(
        POOLING.replace("model.connector.kind: average_pool", "§model.connector: {kind: average_pool, depth: 2}")
    )
    assert problem.key == "model.connector.depth"


def test_levels_that_make_no_difference_are_the_same_run(refuse: Callable, accept: Callable) -> None:
    text = POOLING + "  depth: {key: model.connector.depth, levels: [1, 3]}\n"
    (problem,) = refuse(text.replace("3]", "§3]"))
    assert problem.key == "factors.depth"
    assert "{pooling: average, depth: 1}" in problem.message
    assert "exclude" in problem.remedy
    assert len(accept(text + "exclude: [{pooling: average, depth: 3}]\n").variants) == 3
    assert len(accept(text + "design: one_factor\nbaseline: {pooling: perceiver}\n").variants) == 3


def test_a_level_that_no_variant_has_is_not_at_fault(accept: Callable) -> None:
    text = POOLING + "  depth: {key: model.connector.depth, levels: [1, 3, 5]}\n"
    sweep = accept(text + "exclude: [{depth: 5}, {pooling: average, depth: 3}]\n")
    assert len(sweep.variants) == 3


@pytest.mark.parametrize(
    ("text", "key", "readers"),
    [
        ("training: {splitting: {kind: quadrants, §longest_side: 192}}\n", "training.splitting.longest_side", "grid"),
        ("training: {splitting: {§share: 0.5}}\n", "training.splitting.share", "quadrants or grid"),
        ("evaluation: {splitting: {§longest_side: 192}}\n", "evaluation.splitting.longest_side", "grid"),
        ("phases: {main: {splitting: {§share: 0.5}}}\n", "phases.main.splitting.share", "quadrants or grid"),
        ("training: {splitting: {§share: 0.5}}\n" + POOLING, "training.splitting.share", "quadrants or grid"),
    ],
)
def test_a_key_that_the_splitting_does_not_read(refuse: Callable, text: str, key: str, readers: str) -> None:
    (problem,) = refuse(text)
    assert problem.key == key
    assert problem.remedy.endswith(f"read where the kind of splitting is {readers}")


def test_a_key_that_some_variants_splitting_reads_is_fine(accept: Callable) -> None:
    levels = "factors:\n  splitting:\n    levels:\n      none: {}\n      half: {training.splitting.kind: quadrants}\n"
    accept("training: {splitting: {share: 0.5}}\n" + levels)
    one_phase = "factors:\n  splitting:\n    levels:\n      half: {phases.main.splitting.kind: quadrants}\n"
    accept("training: {splitting: {share: 0.5}}\n" + one_phase)
