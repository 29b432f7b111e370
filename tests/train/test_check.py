"""The smoke check of a model finds what it is for: each test plants one fault."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from harness.models import VLM, families, load_vlm
from harness.models.attention import DocumentLayout
from harness.models.audit import count_problems
from harness.models.inputs import TokenInputs
from harness.models.memory import Memory
from harness.models.settings import AdaptorSettings, LoraSettings, Tuning
from harness.models.tuning import set_tuning
from harness.train.check import TOLERANCE, _cached, _of, _open_gates, _packed
from tests.models.tiny import FUSIONS, model_section, pack, pixels, with_image, words, write_language, write_vision


@pytest.fixture(scope="module", params=["autoregressive", "flamingo", "idefics"])
def vlm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VLM:
    root = tmp_path_factory.mktemp("backbones")
    vision, language = write_vision(root / "vision"), write_language(root / "language")
    vlm = load_vlm(model_section(fusion=FUSIONS[request.param]), 0, vision, language)
    _open_gates(vlm)
    return vlm


def documents(vlm: VLM) -> list:
    made = []
    for number, text in enumerate(words(9, 6, 7)):
        document = with_image(vlm.placeholders_per_image, text)
        images = pixels(1, seed=number)
        if number == 2:
            document, images = torch.cat([document, document]), pixels(2, seed=5)
        with torch.no_grad():
            tokens = TokenInputs(vlm.visual_tokens(pack([[document]], images).images))
        made.append(replace(pack([[document]]), images=tokens))
    return made


def test_a_good_model_passes(vlm: VLM) -> None:
    with torch.inference_mode():
        assert _packed(vlm, documents(vlm)) <= TOLERANCE
        for document in documents(vlm):
            assert _cached(vlm, document) <= TOLERANCE


def test_documents_that_see_each_other_are_found(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> None:
    made = documents(vlm)
    init = DocumentLayout.__init__
    monkeypatch.setattr(DocumentLayout, "__init__", lambda self, ids, *_: init(self, (ids != 0).long()))
    with torch.inference_mode():
        assert _packed(vlm, made) > TOLERANCE


def test_images_of_other_documents_that_are_seen_are_found(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> None:
    if not vlm.fusion.reads_memory:
        pytest.skip("no cross-attention")
    made = documents(vlm)

    def everything(self: Memory, positions, of, image_positions, image_documents):  # type: ignore[no-untyped-def]
        return torch.ones(*positions.shape, image_positions.shape[1], dtype=torch.bool)

    monkeypatch.setattr(Memory, "_visible", everything)
    with torch.inference_mode():
        assert max(_cached(vlm, document) for document in made) > TOLERANCE


@pytest.mark.parametrize(
    ("component", "model_type", "wrong", "missing"),
    [
        ("language", "llama", {"input_bias": True}, -3 * (32 + 16 + 16)),
        ("language", "llama", {"defaults": {"tie_word_embeddings": False}}, -64 * 32),
        ("vision", "siglip_vision_model", {"class_tokens": 1}, -2 * 24),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else str(value),
)
def test_a_family_that_is_described_wrongly_is_found(
    component: str,
    model_type: str,
    wrong: dict[str, Any],
    missing: int,
    vlm: VLM,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vision, language = (dict(config.to_dict()) for config in (vlm.config.vision_config, vlm.config.text_config))
    del language["tie_word_embeddings"]  # as published configs do: what a plan takes then is the family's default
    right = {"defaults": {"tie_word_embeddings": True}}
    file = import_module(f"harness.models.families.{model_type}")
    llama = import_module("harness.models.families.llama")
    monkeypatch.setattr(families, "_family", families._family.__wrapped__)  # which would keep what is wrong
    monkeypatch.setattr(llama, "FAMILY", replace(llama.FAMILY, **right))
    assert count_problems(vlm, vision, language) == []
    monkeypatch.setattr(file, "FAMILY", replace(file.FAMILY, **wrong))
    problems = count_problems(vlm, vision, language)
    real = sum(each.numel() for each in getattr(vlm, component).parameters())
    counted = real - missing
    assert problems[0] == (
        f"{component}: {counted:,} parameters are counted, the model has {real:,}: correct "
        f"harness/models/families/{model_type}.py"
    )
    assert f"{component}: {counted:,} trained parameters are counted" in problems[1]


def test_adapters_and_frozen_parts_are_counted_as_they_are(vlm: VLM) -> None:
    tuned = deepcopy(vlm)
    configs = [config.to_dict() for config in (vlm.config.vision_config, vlm.config.text_config)]
    set_tuning(tuned, Tuning("adaptor", "full", "lora"), LoraSettings(rank=2), 0, AdaptorSettings())
    assert count_problems(tuned, *configs) == []
    next(tuned.connector.parameters()).requires_grad_(False)
    (problem,) = count_problems(tuned, *configs)
    assert problem.startswith("connector: ")
    assert "trained parameters" in problem


def phase(folder: Path, losses: list[float], declared: list[str], changed: list[str], problems: list[str]) -> Path:
    pq.write_table(pa.table({"loss": losses}), folder / "telemetry.parquet")
    (folder / "audit.json").write_text(json.dumps({"declared": declared, "changed": changed, "problems": problems}))
    return folder


def test_the_records_of_a_phase(tmp_path: Path) -> None:
    assert _of(phase(tmp_path, [2.0, 1.0], ["a"], ["a"], [])) == []
    assert _of(phase(tmp_path, [1.0, 1.0], ["a"], ["a"], [])) == ["the loss did not move"]
    assert _of(phase(tmp_path, [1.0, float("nan")], ["a"], ["a"], [])) == ["the loss is not finite"]
    assert _of(phase(tmp_path, [2.0, 1.0], ["a"], ["b"], ["a did not change"])) == ["a did not change"]
    assert _of(phase(tmp_path, [2.0, 1.0], ["a"], ["a", "b"], [])) == [
        "what was declared trainable is not what changed"
    ]
    assert _of(phase(tmp_path, [2.0, 1.0], [], [], [])) == ["what was declared trainable is not what changed"]
