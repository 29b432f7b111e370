from __future__ import annotations

from collections.abc import Callable

import pytest

TOKENS = "factors:\n  tokens: {key: model.connector.num_tokens, levels: [4, 36]}\n"


def test_a_key_with_a_list_of_levels(accept: Callable) -> None:
    sweep = accept(TOKENS)
    assert [level.name for level in sweep.factors[0].levels] == ["4", "36"]
    assert [variant.config.model.connector.num_tokens for variant in sweep.variants] == [4, 36]
    assert [dict(variant.levels) for variant in sweep.variants] == [{"tokens": "4"}, {"tokens": "36"}]


def test_a_key_with_named_levels(accept: Callable) -> None:
    text = "factors:\n  b: {key: model.vision.backbone, levels: {good: zoo/vision-base, weak: zoo/vision-weak}}\n"
    assert {v.name: v.config.model.vision.backbone for v in accept(text).variants} == {
        "b=good": "zoo/vision-base", "b=weak": "zoo/vision-weak",
    }  # fmt: skip


def test_levels_that_set_several_keys_or_none(accept: Callable) -> None:
    text = (
        "factors:\n  size:\n    levels:\n      small: {}\n"
        "      large: {model.connector.depth: 6, phases.main.steps: 9, training.optimizer.betas: [0.8, 0.9]}\n"
    )
    small, large = (variant.config for variant in accept(text).variants)
    assert (small.model.connector.depth, small.phases["main"].steps) == (3, 300)
    assert (large.model.connector.depth, large.phases["main"].steps) == (6, 9)
    assert large.phases["align"].optimizer.betas == (0.8, 0.9)


def test_a_level_may_be_a_mapping_that_is_merged(accept: Callable) -> None:
    text = "factors:\n  lr: {key: training.learning_rate, levels: {low: {connector: 1e-4}, high: {connector: 1e-2}}}\n"
    low, high = (variant.config.phases["main"].learning_rate for variant in accept(text).variants)
    assert (low.connector, high.connector) == (1e-4, 1e-2)
    assert low.language == high.language == 1e-3


def test_names_of_levels_and_their_file_names(accept: Callable) -> None:
    text = (
        "factors:\n  b: {key: model.vision.backbone, levels: [zoo/vision-base, zoo/vision-weak]}\n"
        "  p: {key: training.precision, levels: [float32, bfloat16]}\n"
        "  r: {key: training.clip_norm, levels: [1e-1, 2.5]}\n"
    )
    sweep = accept(text)
    assert dict(sweep.variants[0].levels) == {"b": "zoo/vision-base", "p": "float32", "r": "0.1"}
    assert all("/" not in variant.name for variant in sweep.variants)
    assert len({variant.name for variant in sweep.variants}) == 8


def test_similar_names_keep_distinct_file_names(accept: Callable) -> None:
    text = "factors:\n  b: {key: model.language.backbone, levels: [a/b, a-b]}\n"
    names = {variant.name for variant in accept(text).variants}
    assert len(names) == 2


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("factors:\n  §tokens: {key: model.connector.num_tokens}\n", "factors.tokens"),
        ("factors:\n  tokens:\n    key: model.connector.num_tokens\n    §levels: []\n", "factors.tokens.levels"),
        ("factors:\n  tokens:\n    key: model.connector.num_tokens\n    §levels: {}\n", "factors.tokens.levels"),
        ("factors:\n  tokens:\n    key: model.connector.num_tokens\n    §levels:\n", "factors.tokens"),
        ("factors:\n  §tokens:\n", "factors.tokens"),
        ("factors:\n  §tokens: {}\n", "factors.tokens"),
        ("factors:\n  §tokens: []\n", "factors.tokens.levels"),
        ("factors:\n  §tokens: 4\n", "factors.tokens.levels"),
    ],
)
def test_a_factor_without_levels(refuse: Callable, text: str, key: str) -> None:
    (problem,) = refuse(text)
    assert problem.key == key
    assert "levels" in problem.message
    assert "levels:" in problem.remedy


@pytest.mark.parametrize("text", ["factors: [a]\n", "factors: 3\n", "factors:\n"])
def test_factors_that_are_no_mapping(refuse: Callable, text: str) -> None:
    (problem,) = refuse(text)
    assert (problem.line, problem.key) == (4, "factors")
    assert "mapping" in problem.message


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("connector.num_tokens", "model.connector.num_tokens"),
        ("num_tokens", "model.connector.num_tokens"),
        ("model.conector.num_tokens", "model.connector.num_tokens"),
        ("model.connector.num_token", "model.connector.num_tokens"),
        ("modle.image.size", "model.image.size"),
        ("phases.mian.steps", "main"),
        ("phases.main.stesp", "phases.main.steps"),
        ("evaluation.tasks.vqav3.samples", "evaluation.tasks.vqav2.samples"),
        ("seeds", "model"),
        ("sizes.tokens", "model"),
    ],
)
def test_unknown_keys_of_levels_name_the_right_spelling(refuse: Callable, key: str, meant: str) -> None:
    (problem,) = refuse(f"factors:\n  f:\n    key: §{key}\n    levels: [4, 36]\n")
    assert problem.key == key
    assert meant in problem.remedy
    (problem,) = refuse(f"factors:\n  f:\n    levels:\n      a: {{§{key}: 4}}\n      b: {{}}\n")
    assert problem.key == key
    assert meant in problem.remedy


@pytest.mark.parametrize("key", ["runtime.threads", "cluster.gpus"])
def test_what_cannot_change_a_result_cannot_be_varied(refuse: Callable, key: str) -> None:
    (problem,) = refuse(f"factors:\n  f: {{key: §{key}, levels: [1, 2]}}\n")
    assert problem.key == key
    assert "cannot change a result" in problem.message


def test_two_factors_that_set_the_same_key_contradict_each_other(refuse: Callable) -> None:
    text = (
        TOKENS + "  pooling:\n    levels:\n"
        "      average: {model.connector.kind: average_pool, §model.connector.num_tokens: 9}\n"
        "      perceiver: {model.connector.kind: perceiver}\n"
    )
    (problem,) = refuse(text)
    assert problem.key == "model.connector.num_tokens"
    assert "tokens" in problem.message
    assert "line 5" in problem.message
    assert problem.remedy


def test_a_factor_that_sets_a_whole_section_contradicts_one_that_sets_a_part(refuse: Callable) -> None:
    text = TOKENS + "  c:\n    levels: {a: {§model.connector: {kind: perceiver}}}\n"
    (problem,) = refuse(text)
    assert problem.key == "model.connector"


def test_a_level_that_sets_a_key_twice_contradicts_itself(refuse: Callable) -> None:
    text = "factors:\n  c:\n    levels: {a: {model.connector: {kind: mlp}, §model.connector.kind: linear}}\n"
    (problem,) = refuse(text)
    assert problem.key == "model.connector.kind"
    assert "contradicts" in problem.message


def test_wrong_values_of_levels_stand_at_the_level(refuse: Callable) -> None:
    text = (
        "factors:\n  tokens: {key: model.connector.num_tokens, levels: [4, §many]}\n"
        "  pooling:\n    levels:\n      a: {model.connector.kind: §perciever}\n"
        "      b: {model.connector.kind: average_pool}\n"
    )
    problems = refuse(text)
    assert [problem.key for problem in problems] == ["model.connector.num_tokens", "model.connector.kind"]
    assert "whole number" in problems[0].message
    assert "perceiver" in problems[1].remedy


@pytest.mark.parametrize("levels", ["[4, §4]", "[4, §[1]]", "[4, §{a: 1}]", "[4, §'']", "{§a b: 1}", "§4", "§x"])
def test_levels_that_cannot_be_told_apart_or_named(refuse: Callable, levels: str) -> None:
    (problem,) = refuse(f"factors:\n  tokens: {{key: model.connector.num_tokens, levels: {levels}}}\n")
    assert problem.key.startswith("factors.tokens.levels")


def test_a_list_of_levels_without_key(refuse: Callable) -> None:
    (problem,) = refuse("factors:\n  tokns: {§levels: [4]}\n" + TOKENS.removeprefix("factors:\n"))
    assert problem.key == "factors.tokns.levels"
    assert "factors.tokens" in problem.remedy


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("  f: {key: model.image.size, levels: [96], §level: 3}\n", "factors.f.level"),
        ("  f: {key: §3, levels: [96]}\n", "factors.f.key"),
        ("  f: {key: §a..b, levels: [96]}\n", "a..b"),
        ("  §f/g: {key: model.image.size, levels: [96]}\n", "factors.f/g"),
        ("  f: {levels: {a: §3}}\n", "factors.f.levels.a"),
        ("  f: {levels: {a: §[model.image.size]}}\n", "factors.f.levels.a"),
    ],
)
def test_misshapen_factors(refuse: Callable, text: str, key: str) -> None:
    (problem,) = refuse("factors:\n" + text)
    assert problem.key == key


def test_a_level_that_leads_into_a_list(accept: Callable, refuse: Callable) -> None:
    text = "factors:\n  c: {key: 'evaluation.controls[%d]', levels: {a: majority, b: withheld}}\n"
    (problem, *_) = refuse(text % 7)
    assert problem.line == 5
    assert "3 items" in problem.message


def test_levels_may_refer_to_values_and_follow_other_levels(accept: Callable) -> None:
    text = (
        'factors:\n  tokens: {key: model.connector.num_tokens, levels: "${sizes.token_ladder}"}\n'
        '  heads:\n    levels:\n      as_tokens: {model.connector.num_heads: "${model.connector.num_tokens}"}\n'
        "      four: {model.connector.num_heads: 4}\n"
    )
    heads = {v.name: v.config.model.connector.num_heads for v in accept(text, "sizes.token_ladder=[8,36]").variants}
    assert heads == {
        "tokens=8,heads=as_tokens": 8, "tokens=8,heads=four": 4,
        "tokens=36,heads=as_tokens": 36, "tokens=36,heads=four": 4,
    }  # fmt: skip


def test_values_of_the_file_that_refer_to_a_varied_key_follow_it(accept: Callable) -> None:
    factors = "factors: {b: {key: training.batch_size, levels: [32, 64]}}\n"
    text = 'training: {micro_batch_size: "${training.batch_size}"}\n' + factors
    assert [v.config.phases["main"].micro_batch_size for v in accept(text).variants] == [32, 64]
    text = 'evaluation: {batch_size: "${training.batch_size}"}\n' + factors
    assert [v.config.evaluation.batch_size for v in accept(text).variants] == [32, 64]


def test_dangling_references_in_levels_stand_at_the_level(refuse: Callable) -> None:
    text = 'factors:\n  a:\n    levels:\n      x: {model.connector.depth: §"${sizes.dpeth}"}\n      y: {}\n'
    (problem,) = refuse(text)
    assert problem.key == "model.connector.depth"
    text = 'factors:\n  a: {key: model.connector.depth, levels: §"${sizes.dpeth}"}\n'
    (problem,) = refuse(text)
    assert problem.key == "factors.a.levels"


def test_an_override_removes_a_factor_or_a_level(accept: Callable) -> None:
    text = TOKENS + "  p:\n    levels:\n      a: {model.connector.depth: 1}\n      b: {model.connector.depth: 2}\n"
    assert len(accept(text, "factors.tokens=null").variants) == 2
    assert [v.name for v in accept(text, "factors.p.levels.a=null", "factors.tokens.levels=[9]").variants] == [
        "tokens=9,p=b"
    ]
