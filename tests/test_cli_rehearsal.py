"""``harness doctor --train``: twenty steps of a recipe on this machine, and the faults that it is for."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import main


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One microworld for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def machine(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(cache))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("recipe", ["idefics2", "flamingo"])
def test_a_training_is_rehearsed(recipe: str, capfd: pytest.CaptureFixture[str], cache: Path) -> None:
    options = ["training.precision=bfloat16", "runtime.gradient_checkpointing=true"] if recipe == "flamingo" else []
    assert main(["doctor", "--train", recipe, "--json", *options]) == 0
    out = capfd.readouterr().out
    found = json.loads(out[out.index('{\n  "recipe"') :])  # behind what the stages print, which has a log elsewhere
    assert [check["ok"] for check in found["checks"]] == [True, True, True]
    assert found["checks"][1]["found"] == "equal to the bit"
    assert found["recipe"] == recipe
    assert found["scale"] == "smoke"
    assert found["precision"] == ("bfloat16" if options else "float32")
    assert found["gradient_checkpointing"] is bool(options)
    assert found["attention_kernels"] == ["sdpa"]
    for measure in ("peak_memory_bytes", "tokens_per_second", "images_per_second", "flops_per_second"):
        assert found[measure] > 0
    assert not list(cache.glob("rehearsal-*"))


@pytest.mark.timeout(300)
def test_a_resume_that_forgets_is_found(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    from harness.train import checkpoint

    load = checkpoint.load

    def forget(directory: Path, model, optimizer, ranks) -> None:
        load(directory, model, optimizer, ranks)
        optimizer.state.clear()

    monkeypatch.setattr(checkpoint, "load", forget)
    assert main(["doctor", "--train", "idefics2"]) == 1
    out = capfd.readouterr().out
    assert re.search(r"FAILED +stopped and gone on, the same losses +differ by ", out)
    assert "tokens/s" in out


@pytest.mark.timeout(300)
def test_a_family_that_is_counted_wrongly_is_found(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from harness.models import families
    from harness.models.families import llama

    monkeypatch.setattr(llama, "FAMILY", replace(llama.FAMILY, input_bias=True))
    monkeypatch.setattr(families, "_family", families._family.__wrapped__)  # which would keep what is wrong
    assert main(["doctor", "--train", "idefics2"]) == 1
    out = capfd.readouterr().out
    assert "FAILED  as counted; saved, packed and cached alike  check main: language: " in out
    assert "correct harness/models/families/llama.py" in out


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["--train", "idefics9"], "there is no recipe 'idefics9'", 2),
        (["--train", "idefics2", "--scale", "huge"], "there is no scale 'huge'", 2),
        (["training.batch_size=4"], "go with --train", 2),
        (["--train", "idefics2", "runtime.attention=flash", "training.precision=bfloat16"], "needs an NVIDIA GPU", 1),
        (["--train", "idefics2", "--scale", "lab"], "hf download google/siglip-base-patch16-384", 1),
    ],
)
def test_what_cannot_be_rehearsed_is_said(
    arguments: list[str],
    message: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert main(["doctor", *arguments]) == code
    error = capfd.readouterr().err
    assert message in error
    assert "Traceback" not in error.rpartition("error: ")[2]  # before it stands what goes to a stage's log elsewhere
