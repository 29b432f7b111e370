"""What ships in the zoo is what its cards and the spec's table say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import harness.zoo
from harness.spec.backbones import ZOO

MODELS = Path(harness.zoo.__file__).parent / "models"
VISION = sorted(name for name, backbone in ZOO.items() if backbone.role == "vision")
LANGUAGE = sorted(name for name, backbone in ZOO.items() if backbone.role == "language")


def card(name: str) -> dict:
    return json.loads((MODELS / name / "card.json").read_text())


def test_every_backbone_of_the_table_is_there_and_no_other() -> None:
    assert sorted(path.name for path in MODELS.iterdir() if path.is_dir()) == sorted(ZOO)


def test_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) < 12e6


@pytest.mark.parametrize("name", sorted(ZOO))
def test_a_card_says_how_it_was_made_and_how_good_it_is(name: str) -> None:
    content = card(name)
    assert content["made_by"].startswith("harness.zoo.")
    assert content["recipe"]["steps"] > 0
    assert content["core_seconds"] > 0
    assert content["data"]
    assert content["scores"]


@pytest.mark.parametrize("name", VISION)
def test_vision_encoders_load_as_hub_models_do(name: str) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(MODELS / name, local_files_only=True)
    assert sum(parameter.numel() for parameter in model.parameters()) == card(name)["parameters"]
    assert model.config.patch_size == ZOO[name].patch


@pytest.mark.parametrize("name", LANGUAGE)
def test_language_models_load_as_hub_models_do_and_know_their_facts(name: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from harness.zoo.language_pretraining import recall_facts

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(MODELS / name, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(MODELS / name, local_files_only=True, dtype=torch.float32).eval()
    content = card(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == content["parameters"]
    assert (
        tokenizer.decode(tokenizer(" Two dogs and a sign that says 42.")["input_ids"])
        == " Two dogs and a sign that says 42."
    )
    recalled = recall_facts(model, tokenizer)
    for fact in ("facts_taught", "facts_untaught"):  # half precision may cost a point
        assert recalled[fact] == pytest.approx(content["scores"][fact], abs=2.0)


def test_quality_differs_at_equal_size() -> None:
    better, weaker = card("vision-base"), card("vision-weak")
    assert better["parameters"] == weaker["parameters"]
    assert better["scores"]["objects"] > weaker["scores"]["objects"]
    better, weaker, ignorant = (card(f"language-{name}") for name in ("base", "weak", "nofacts"))
    assert better["parameters"] == weaker["parameters"] == ignorant["parameters"]
    assert better["scores"]["loss"] < weaker["scores"]["loss"]
    assert better["scores"]["facts_untaught"] > 90 > 10 > ignorant["scores"]["facts_untaught"]
    assert ignorant["scores"]["facts_taught"] > 90
    assert card("language-nano")["parameters"] < better["parameters"] / 3
