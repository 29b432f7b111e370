"""Specs with experts: what is refused, and what tells runs apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import SpecError
from harness.spec import load
from harness.spec.checks import findings
from harness.spec.connectors import CONNECTORS
from harness.spec.connectors import kind as connector
from harness.spec.identity import identity_part
from harness.spec.schema import Config
from harness.spec.sweep import config_of
from harness.spec.visual_tokens import ANY_NUMBER, EVEN_SQUARE, NEIGHBOURHOODS, SQUARE, TokenRule


def changed(**patches: Any) -> Config:
    """Prismer at the smoke scale with other values, by dotted key."""
    config = config_of("prismer", "smoke").model_dump(mode="json")
    for key, value in patches.items():
        *sections, last = key.split("__")
        place = config
        for section in sections:
            place = place[section]
        place[last] = value
    return Config.model_validate(config)


def test_prismer_is_valid_and_prismerz_is_prismer_without_experts() -> None:
    assert findings(config_of("prismer", "smoke")) == []
    without = changed(model__experts={"kinds": [], "resampler": "dual", "num_latents": 3})
    assert identity_part(without.model) == identity_part(config_of("prismerz", "smoke").model)
    assert "experts" not in identity_part(without.model)


def test_what_is_not_read_tells_no_runs_apart() -> None:
    one, other = (changed(model__experts__resampler="random", model__experts__depth=depth) for depth in (1, 2))
    assert identity_part(one.model) == identity_part(other.model)
    one, other = (changed(model__experts__depth=depth) for depth in (1, 2))
    assert identity_part(one.model) != identity_part(other.model)


@pytest.mark.parametrize(
    ("patches", "message"),
    [
        ({"model__experts__kinds": ["depth", "depth"]}, "depth is given twice"),
        ({"model__experts__noise": {"noise": 0.1}}, "nothing but noise"),
        ({"model__experts__kinds": ["depth"], "model__experts__noise": {"text": 0.1}}, "not among the kinds"),
        ({"model__connector": {"kind": "average_pool", "num_tokens": 9}}, "works on the grid of patches"),
        ({"model__image__aspect": "crop"}, "images are crop"),
        ({"phases__main__splitting": {"kind": "quadrants", "share": 0.5}}, "cannot be split"),
        ({"evaluation__splitting": {"kind": "quadrants"}}, "cannot be split"),
        (
            {"phases__main__tuning__connector": "frozen", "phases__main__learning_rate__fusion": 1e-3},
            "which is not set",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_refused(patches: dict[str, Any], message: str) -> None:
    found = [finding.message for finding in findings(changed(**patches))]
    assert len(found) == 1
    assert message in found[0]


@pytest.mark.parametrize("kind", [name for name, kind in CONNECTORS.items() if kind.keeps_grid])
def test_a_connector_of_the_grid_is_refused_and_not_recommended(kind: str) -> None:
    config = changed(model__connector={"kind": kind, "num_tokens": 9})
    (finding,) = (each for each in findings(config) if each.path == ("model", "connector", "kind"))
    assert finding.message.startswith(f"{kind} works on the grid of patches")  # no article, it might be an "a" or "an"
    offered = set(finding.remedy.removeprefix("take the connector ").split(" or "))
    assert offered == {name for name, known in CONNECTORS.items() if not known.keeps_grid}


@pytest.mark.parametrize("rule", [SQUARE, EVEN_SQUARE, NEIGHBOURHOODS])
def test_a_rule_about_the_grid_needs_no_flag(rule: TokenRule) -> None:
    assert connector(rule).keeps_grid
    assert not connector(ANY_NUMBER).keeps_grid


def test_experts_that_are_not_there_are_not_tuned() -> None:
    config = changed(model__experts={"kinds": []}, phases__main__tuning__experts="full")
    assert [finding.message for finding in findings(config)] == ["there are no experts to tune"]


def test_models_are_named_for_experts_that_are_there_and_have_one() -> None:
    models = {"depth": "./dpt", "objects": "facebook/detr-resnet-50"}
    part = identity_part(changed(model__experts__models=models).model)["experts"]
    assert part["models"] == {"depth": "./by-digest", "objects": "facebook/detr-resnet-50"}
    only = changed(model__experts={"kinds": ["depth"], "models": models})
    assert identity_part(only.model)["experts"]["models"] == {"depth": "./by-digest"}
    none = changed(model__experts={"kinds": ["text"], "models": models})
    assert "models" not in identity_part(none.model)["experts"]
    for wrong, message in {"zoo/vision-base": "the zoo has no experts", "a/b/c": "there is no model"}.items():
        (found,) = findings(changed(model__experts__models={"depth": wrong}))
        assert message in found.message
        assert found.path == ("model", "experts", "models", "depth")


def test_pages_named_like_training_pictures_are_not_labelled() -> None:
    assert findings(changed(data__microworld__train_pages=4)) == []
    (found,) = findings(changed(data__microworld__train_pages=4, model__experts__models={"depth": "./dpt"}))
    assert found.path == ("data", "microworld", "train_pages")


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("model: {experts: {models: {edges: ./x}}}", "unknown key", "transformers has no class of models for edges"),
        ("model: {experts: {models: {text: ./x}}}", "unknown key", "stay in the data folder's experts/"),
        ("model: {experts: {models: {dept: ./x}}}", "unknown key", "did you mean model.experts.models.depth?"),
        ("model: {experts: {kinds: [text], models: {depth: ./x}}}", "none has the expert depth", "add depth to"),
        (
            "factors: {e: {levels: {a: {}, b: {model.experts: {kinds: [edges], models: {depth: ./x}}}}}}\n"
            "baseline: {e: a}\nmodel: {experts: {kinds: [text]}}",
            "none has the expert depth",
            "remove it",
        ),
    ],
)
def test_models_that_nothing_reads_are_refused(tmp_path: Path, text: str, problem: str, remedy: str) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(f"name: sweep\nrecipe: prismer\nscale: smoke\n{text}\n")
    with pytest.raises(SpecError) as error:
        load(file)
    assert problem in str(error.value)
    assert remedy in str(error.value)


def test_a_level_may_leave_out_experts_that_the_file_names_models_for(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "name: sweep\nrecipe: prismer\nscale: smoke\nmodel: {experts: {models: {depth: ./x}}}\n"
        "factors: {e: {levels: {a: {model.experts.kinds: [depth]}, b: {model.experts.kinds: [text]}}}}\n"
        "baseline: {e: a}\n"
    )
    models = [variant.config.model.experts.models.named() for variant in load(file).variants]
    assert models == [{"depth": "./x"}, {}]
