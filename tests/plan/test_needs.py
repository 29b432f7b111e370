"""Everything that is missing is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.plan import build
from harness.plan.data import DataSource
from harness.plan.weights import Absent, Backbones
from harness.spec import load
from tests.synthetic import write_sweep


def refused(folder: Path, *overrides: str) -> HarnessError:
    sweep = load(write_sweep(folder), overrides)
    with pytest.raises(HarnessError) as caught:
        build(sweep, Backbones(folder / "weights.json"), DataSource(folder / "cache"))
    assert caught.value.remedy
    return caught.value


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def test_models_that_were_not_fetched_are_listed_with_one_line_that_fetches_them(tmp_path: Path) -> None:
    error = refused(tmp_path, "sizes.vision_backbone=org/eyes", "sizes.language_backbone=org/words")
    assert error.message == "2 models are not on this machine: org/eyes, org/words"
    assert "`hf download org/eyes && hf download org/words`" in error.remedy


def test_models_of_all_variants_and_the_data_are_looked_for(tmp_path: Path) -> None:
    levels = "{small: {model.language.backbone: org/small}, large: {model.language.backbone: org/large}}"
    nowhere = tmp_path / "nowhere"
    text = str(
        refused(
            tmp_path,
            f"factors.pooling={{levels: {levels}}}",
            "baseline.pooling=small",
            "claims=[]",
            "positive_control=null",
            "sizes.vision_backbone=/no/such/folder",
            f"data={{root: {nowhere}, microworld: null}}",
        )
    )
    assert "2 models are not on this machine: org/small, org/large" in text
    assert "the model /no/such/folder cannot be used" in text
    assert str(nowhere) in text
    assert text.count("\n  → ") == 3


def test_one_missing_model_is_told_by_its_name(tmp_path: Path) -> None:
    error = refused(tmp_path, "sizes.vision_backbone=org/eyes")
    assert error.message == "the model org/eyes is not on this machine"
    assert "huggingface.co/org/eyes" in error.remedy
    assert Absent(["org/eyes"]).message == error.message


def test_a_folder_of_data_is_not_indexed_while_models_are_missing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    error = refused(tmp_path, "sizes.vision_backbone=org/eyes", f"data={{root: {data}, microworld: null}}")
    assert error.message == "the model org/eyes is not on this machine"
