from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.spec.designs import MAX_VARIANTS
from harness.spec.sweep import Sweep, load_values

FACTORS = (
    "factors:\n  tokens: {key: model.connector.num_tokens, levels: [4, 9, 36]}\n"
    "  depth: {key: model.connector.depth, levels: [1, 3]}\n"
)


def names(sweep: Sweep) -> list[str]:
    return [variant.name for variant in sweep.variants]


def test_full_is_the_product_in_the_order_of_the_file(accept: Callable) -> None:
    sweep = accept(FACTORS)
    assert names(sweep) == [f"tokens={t},depth={d}" for t, d in itertools.product([4, 9, 36], [1, 3])]
    assert sweep.baseline.name == "tokens=4,depth=1", "the first levels unless said otherwise"


def test_one_factor_changes_one_at_a_time(accept: Callable) -> None:
    sweep = accept(FACTORS + "design: one_factor\nbaseline: {tokens: 36, depth: 3}\n")
    assert names(sweep) == ["tokens=36,depth=3", "tokens=4,depth=3", "tokens=9,depth=3", "tokens=36,depth=1"]
    assert sweep.baseline.name == "tokens=36,depth=3"


def test_list_names_its_variants(accept: Callable) -> None:
    text = FACTORS + "design: list\nvariants: [{tokens: 9, depth: 3}, {tokens: 36}]\n"
    sweep = accept(text)
    assert names(sweep) == ["tokens=9,depth=3", "tokens=36,depth=1"]
    assert sweep.baseline.name == "tokens=9,depth=3", "the first of the list"


def test_left_out_factors_of_a_list_stand_at_the_baseline(accept: Callable) -> None:
    text = FACTORS + "design: list\nvariants: [{tokens: 9}, {}]\nbaseline: {tokens: 36, depth: 3}\n"
    assert names(accept(text)) == ["tokens=9,depth=3", "tokens=36,depth=3"]


def test_exclusions_come_before_inclusions(accept: Callable) -> None:
    text = FACTORS + "exclude: [{tokens: [4, 9], depth: 3}, {tokens: 36}]\ninclude: [{tokens: 36, depth: 3}]\n"
    assert names(accept(text)) == ["tokens=4,depth=1", "tokens=9,depth=1", "tokens=36,depth=3"]


def test_inclusions_extend_a_one_factor_design(accept: Callable) -> None:
    text = FACTORS + "design: one_factor\ninclude: [{tokens: 9, depth: 3}]\n"
    assert names(accept(text))[-1] == "tokens=9,depth=3"


def test_no_factors_make_one_variant(accept: Callable) -> None:
    sweep = accept("")
    assert names(sweep) == ["baseline"]
    assert sweep.baseline.levels == {}


def test_baseline_levels_may_be_given_by_value_or_name(accept: Callable) -> None:
    for level in ["36", '"36"', '"${sizes.tokens}"']:
        assert accept(FACTORS + f"baseline: {{tokens: {level}}}\n").baseline.levels["tokens"] == "36"


@pytest.mark.parametrize(
    ("text", "key", "remedy"),
    [
        ("baseline: {tokens: §5}\n", "baseline.tokens", "4, 9, 36"),
        ("baseline: {§token: 4}\n", "baseline.token", "did you mean tokens?"),
        ("baseline: {tokens: §[4]}\n", "baseline.tokens", "4, 9, 36"),
        ("include:\n  - {tokens: §5}\n", "include[0].tokens", "4, 9, 36"),
        ("include:\n  - {§tokenz: 4}\n", "include[0].tokenz", "did you mean tokens?"),
        ("include: [§{tokens: 4}]\n", "include[0]", "remove it"),
        ("exclude: [{tokens: §5}]\n", "exclude[0].tokens", "4, 9, 36"),
        ("exclude: [{tokens: [4, §5]}]\n", "exclude[0].tokens[1]", "4, 9, 36"),
        ("exclude: [§{}]\n", "exclude[0]", "name factors"),
        ("exclude: [{depth: 3}, {tokens: 4, depth: 1, §deep: 2}]\n", "exclude[1].deep", "depth"),
        ("§exclude: [{tokens: 4, depth: 1}]\n", "baseline", "one of the variants"),
        ("§exclude: [{tokens: [4, 9, 36]}]\n", "exclude", "exclude less"),
        ("design: one_factor\nexclude: [§{tokens: 9, depth: 3}]\n", "exclude[0]", "check its levels"),
        ("§design: list\n", "variants", "variants:"),
        ("design: list\n§variants: []\n", "variants", "variants:"),
        ("design: list\nvariants: [{depth: §2}]\n", "variants[0].depth", "1, 3"),
        ("design: list\nvariants: [{depth: 1}, §{tokens: 4}]\n", "variants[1]", "remove it"),
        ("design: list\nvariants: [{depth: 1}]\n§baseline: {depth: 3}\n", "baseline", "one of the variants"),
        ("§variants: [{depth: 1}]\n", "variants", "design: list"),
        ("design: §ful\n", "design", "did you mean full?"),
        ("include: §{tokens: 4}\n", "include", "write [{"),
    ],
)  # fmt: skip
def test_mistakes_in_designs(refuse: Callable, text: str, key: str, remedy: str) -> None:
    (problem,) = refuse(FACTORS + text)
    assert problem.key == key
    assert remedy in problem.remedy


@pytest.mark.parametrize("level", ["nine", "-9"])
def test_a_level_that_is_wrong_is_told_once_and_not_again_where_it_was_meant(refuse: Callable, level: str) -> None:
    text = f"factors: {{tokens: {{key: model.connector.num_tokens, levels: [4, §{level}]}}}}\nbaseline: {{tokens: 9}}\n"
    (problem,) = refuse(text)
    assert problem.key == "model.connector.num_tokens"


def test_what_has_no_such_level_is_told_beside_mistakes_elsewhere(refuse: Callable) -> None:
    text = "factors: {tokens: {key: model.connector.num_tokens, levels: [4, 90]}}\nbaseline: {tokens: §9}\n"
    first, second = refuse(text + "training: {batch_size: §many}\n")
    assert (first.key, second.key) == ("baseline.tokens", "training.batch_size")
    assert first.remedy == "levels: 4, 90", "one number is no spelling of another"


def test_a_design_that_would_explode_is_refused_before_it_does(refuse: Callable) -> None:
    keys = ["image.size", "connector.depth", "connector.num_heads", "connector.head_dim", "connector.mlp_ratio"]
    lines = [f"  f{i}: {{key: model.{key}, levels: {list(range(8, 8 + 8 * 40, 8))}}}\n" for i, key in enumerate(keys)]
    (problem,) = refuse("factors:\n" + "".join(lines))
    assert f"{MAX_VARIANTS:,}" in problem.message
    assert "102400000" in problem.message
    assert "one_factor" in problem.remedy


def test_an_override_that_narrows_a_factor_narrows_the_exclusions_too(accept: Callable) -> None:
    text = FACTORS + "exclude: [{tokens: 9, depth: 3}, {tokens: [9, 36], depth: 1}]\nbaseline: {tokens: 36, depth: 3}\n"
    assert names(accept(text, "factors.tokens.levels=[36]")) == ["tokens=36,depth=3"]


KEYS = ["model.connector.depth", "model.connector.head_dim", "training.max_length", "evaluation.demonstration_seed"]


def sweep_of(counts: list[int], **keys: object) -> Sweep:
    factors = {
        f"f{i}": {"key": KEYS[i], "levels": list(range(1, count + 1))} for i, count in enumerate(counts)
    }  # fmt: skip
    return load_values({"name": "t", "recipe": "idefics2", "scale": "micro", "factors": factors, **keys})


slow = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@slow
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_the_number_of_variants(counts: list[int]) -> None:
    product = 1
    for count in counts:
        product *= count
    full = sweep_of(counts)
    assert len(full.variants) == product
    one = sweep_of(counts, design="one_factor")
    assert len(one.variants) == 1 + sum(counts) - len(counts)
    assert {v.name for v in one.variants} <= {v.name for v in full.variants}
    for sweep in (full, one):
        assert len({v.name for v in sweep.variants}) == len({v.digest for v in sweep.variants}) == len(sweep.variants)
        assert sum(v.is_baseline for v in sweep.variants) == 1


@slow
@given(st.lists(st.integers(1, 3), min_size=2, max_size=3), st.data())
def test_exclusions_remove_exactly_what_they_match_in_any_order(counts: list[int], data: st.DataObject) -> None:
    def pattern() -> dict[str, int]:
        factors = data.draw(st.sets(st.integers(0, len(counts) - 1), min_size=1))
        return {f"f{i}": data.draw(st.integers(1, counts[i])) for i in factors}

    everything = list(itertools.product(*(range(1, count + 1) for count in counts)))
    baseline = data.draw(st.sampled_from(everything))
    fixed = {f"f{i}": level for i, level in enumerate(baseline)}
    patterns = [p for p in (pattern() for _ in range(2)) if not p.items() <= fixed.items()]
    kept = [c for c in everything if not any(all(c[int(f[1:])] == level for f, level in p.items()) for p in patterns)]
    first = sweep_of(counts, exclude=patterns, baseline=fixed)
    assert names(first) == [",".join(f"f{i}={level}" for i, level in enumerate(c)) for c in kept]
    again = sweep_of(counts, exclude=patterns[::-1], baseline=dict(reversed(fixed.items())))
    assert again.digest == first.digest
