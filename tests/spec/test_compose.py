from __future__ import annotations

from collections.abc import Callable

import pytest

import harness.spec.compose
from harness.spec.compose import available, compose
from harness.spec.place import Place


def test_recipes_and_scales_are_listed() -> None:
    assert "idefics2" in available("recipe")
    assert {"micro", "smoke"} <= set(available("scale"))


def test_the_file_lies_over_the_scale_and_the_scale_over_the_recipe(write: Callable[[str], str]) -> None:
    name = write("recipe: idefics2\nscale: micro\ntraining: {batch_size: 64, schedule: {warmup_steps: 1}}\n")
    tree = compose(name, ["training.batch_size=96"]).tree
    assert tree["training"]["batch_size"] == 96
    assert tree["training"]["schedule"] == {"kind": "cosine", "final_ratio": 0.1, "warmup_steps": 1}
    assert tree["model"]["connector"]["depth"] == 3
    assert tree["sizes"]["tokens"] == 36
    assert "description" not in tree


def test_the_scale_lies_over_the_recipe(
    write: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("packaged")
    for name, text in {
        "recipes/r.yaml": "training: {clip_norm: 1.0, max_length: 10}\n",
        "scales/s.yaml": "training: {clip_norm: 2.0}\n",
    }.items():
        (folder / name).parent.mkdir()
        (folder / name).write_text(text)
    monkeypatch.setattr(harness.spec.compose, "PACKAGED", folder)
    assert available("recipe") == ["r"]
    composition = compose(write("recipe: r\nscale: s\n"))
    assert composition.tree["training"] == {"clip_norm": 2.0, "max_length": 10}
    assert composition.origins.value(("training", "clip_norm")).file == "scales/s.yaml"


def test_every_value_knows_the_layer_that_wrote_it_last(write: Callable[[str], str]) -> None:
    name = write("recipe: idefics2\nscale: micro\ntraining: {batch_size: 64}\n")
    origins = compose(name, ["training.max_length=99", "seeds=[1,2]"]).origins
    assert origins.value(("training", "batch_size")) == Place("sweep.yaml", 3, 24)
    assert origins.value(("training", "micro_batch_size")).file == "scales/micro.yaml"
    assert origins.value(("training", "clip_norm")).file == "recipes/idefics2.yaml"
    assert origins.value(("training", "max_length")) == Place("override 'training.max_length=99'")
    assert origins.value(("seeds", 1)) == Place("override 'seeds=[1,2]'")


def test_who_set_a_key(write: Callable[[str], str]) -> None:
    name = write("recipe: idefics2\nscale: micro\ntraining: {batch_size: 64}\n")
    composition = compose(name, ["training.max_length=99"])
    assert composition.is_set_by_user(("training", "batch_size"))
    assert composition.is_set_by_user(("training", "max_length"))
    assert not composition.is_set_by_user(("training", "clip_norm"))
    assert composition.is_overridden(("training",))
    assert not composition.is_overridden(("model",))


def test_overrides_apply_in_order_and_address_items_and_keys_with_dots(write: Callable[[str], str]) -> None:
    text = "recipe: idefics2\nscale: micro\nseeds: [0, 1]\nfactors: {p: {levels: {a: {model.connector.kind: mlp}}}}\n"
    tree = compose(
        write(text),
        [
            "seeds[1]=7",
            "seeds[0]=3",
            "factors.p.levels.a.model.connector.kind=linear",
            "evaluation.controls[0]=majority",
        ],
    ).tree
    assert tree["seeds"] == [3, 7]
    assert tree["factors"]["p"]["levels"]["a"] == {"model.connector.kind": "linear"}
    assert tree["evaluation"]["controls"][0] == "majority"


def test_overrides_may_choose_the_scale_and_the_recipe(write: Callable[[str], str]) -> None:
    assert compose(write("name: x\n"), ["recipe=idefics2", "scale=smoke"]).tree["sizes"]["tokens"] == 9


@pytest.mark.parametrize(
    ("override", "meant"),
    [("phases.mian.steps=3", "main"), ("factors.token.levels=[1]", "tokens"), ("sizes.token=4", "tokens")],
)
def test_an_override_cannot_reach_into_an_entry_that_is_not_there(
    refuse: Callable[..., tuple], override: str, meant: str
) -> None:
    text = "factors: {tokens: {key: model.connector.num_tokens, levels: [4, 36]}}\n"
    (problem,) = refuse(text, override)
    assert problem.file == f"override {override!r}"
    assert problem.key == override.split("=")[0]
    assert meant in problem.remedy


def test_an_override_may_add_a_whole_phase_and_remove_one(accept: Callable) -> None:
    sweep = accept("", "phases.extra={steps: 5}", "phases.align=null")
    assert {name: phase.steps for name, phase in sweep.baseline.config.phases.items()} == {"main": 300, "extra": 5}


@pytest.mark.parametrize(
    "override", ["seeds[5]=1", "seeds.x=1", "seeds[0][0]=1", "model[0]=1", ".".join("abcdefghij" * 3) + "=1"]
)
def test_overrides_that_lead_nowhere_are_refused(refuse: Callable[..., tuple], override: str) -> None:
    (problem,) = refuse("seeds: [0]\n", override)
    assert problem.file.startswith("override")
    assert problem.remedy


def test_a_list_cannot_replace_a_mapping_of_the_recipe(refuse: Callable[..., tuple]) -> None:
    problems = refuse("model: [1]\ntraining: {tuning: [a]}\n")
    assert [(problem.line, problem.column, problem.key) for problem in problems] == [
        (4, 8, "model"),
        (5, 20, "training.tuning"),
    ]
    assert "found a list" in problems[0].message


@pytest.mark.parametrize(
    ("head", "key", "line", "column", "remedy"),
    [
        ("name: t\nscale: micro\n", "recipe", 1, 1, "idefics2"),
        ("recipe: idefics2\n", "scale", 1, 1, "micro"),
        ("recipe: idefiks2\nscale: micro\n", "recipe", 1, 9, "did you mean idefics2?"),
        ("recipe: idefics2\nscale:  mirco\n", "scale", 2, 9, "did you mean micro?"),
        ("recipe: [idefics2]\nscale: micro\n", "recipe", 1, 9, "idefics2"),
        ("recipe: ../recipes/idefics2\nscale: micro\n", "recipe", 1, 9, "idefics2"),
        ("recipe: idefics2\nscale: /etc/passwd\n", "scale", 2, 8, "micro"),
    ],
)
def test_unknown_recipes_and_scales(
    refuse: Callable[..., tuple], head: str, key: str, line: int, column: int, remedy: str
) -> None:
    (problem,) = refuse("", head=head)
    assert (problem.file, problem.line, problem.column, problem.key) == ("sweep.yaml", line, column, key)
    assert remedy in problem.remedy


def test_a_placeholder_has_to_be_filled(refuse: Callable[..., tuple]) -> None:
    (problem,) = refuse("question: ???\n")
    assert (problem.line, problem.column, problem.key) == (4, 11, "question")


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "${env:HOME}", "${now:%Y}", "${a.${b}}", "${"])
def test_environment_references_are_refused_with_their_place(refuse: Callable[..., tuple], text: str) -> None:
    (problem,) = refuse(f"sizes:\n  x: ['a', '{text}']\n")
    assert (problem.line, problem.column, problem.key) == (5, 12, "sizes.x[1]")
    assert problem.remedy
    (problem,) = refuse("", f"name={text}")
    assert problem.file.startswith("override")


def test_mistakes_in_file_and_overrides_are_shown_together(refuse: Callable[..., tuple]) -> None:
    problems = refuse("a: 1\na: 2\n", "x")
    assert {problem.file for problem in problems} == {"sweep.yaml", "override 'x'"}
