"""What login nodes prepare: the hub's models, and the data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.cli import main
from tests.plan.hub_server import COMMIT, serve
from tests.synthetic import LANGUAGE, VISION, write_sweep

FILES = {
    "config.json": json.dumps(LANGUAGE).encode(),
    "model.safetensors": b"weights" * 1000,
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"the same, in a pickle",
    "consolidated.safetensors": b"the same once more",
    "README.md": b"words",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A sweep with two models of the hub."""
    path = write_sweep(tmp_path)
    text = (
        path.read_text().replace(str(tmp_path / "vision"), "org/see").replace(str(tmp_path / "language"), "org/speak")
    )
    path.write_text(text)
    return path


def harness(tmp_path: Path, hub: str, *arguments: str, offline: bool = False) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: the hub's library reads the environment when it is loaded."""
    environment = {
        **os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "hf"), "HARNESS_CACHE": str(tmp_path / "cache"),
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "1" if offline else "0", "HF_HUB_DISABLE_TELEMETRY": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def models(**changes: Mapping[str, bytes]) -> dict[str, Mapping[str, bytes]]:
    return {"org/see": {**FILES, "config.json": json.dumps(VISION).encode()}, "org/speak": FILES, **changes}


def test_models_are_fetched_once_and_then_found_without_a_network(file: Path, tmp_path: Path) -> None:
    before = harness(tmp_path, "http://127.0.0.1:1", "plan", str(file), offline=True)
    assert before.returncode != 0
    assert "2 models are not on this machine: org/see, org/speak" in before.stderr
    assert "harness models fetch FILE" in before.stderr
    with serve(models()) as (hub, asked):
        done = harness(tmp_path, hub, "models", "fetch", str(file))
        assert done.returncode == 0, done.stderr
        assert f"org/speak: commit {COMMIT[:12]}" in done.stdout
        fetched = [path for path in asked if path.startswith("GET /org")]
        assert not any("pytorch_model.bin" in path or "consolidated" in path or "README" in path for path in asked)
        assert sum("model.safetensors" in path for path in fetched) == 2
        assert harness(tmp_path, hub, "models", "fetch", str(file)).returncode == 0
        assert [path for path in asked if path.startswith("GET /org")] == fetched, "what is here is not fetched again"
    after = harness(tmp_path, "http://127.0.0.1:1", "plan", str(file), "--results", str(tmp_path / "r"), offline=True)
    assert after.returncode == 0, after.stderr


@pytest.mark.parametrize(
    ("known", "gated", "message"),
    [
        (models(), "org/speak", "the model org/speak is gated"),
        ({"org/see": FILES}, "", "the hub has no model org/speak, or hides it"),
        (models(**{"org/speak": {"config.json": b"{}"}}), "", "the model org/speak has no safetensors weights"),
    ],
)
def test_what_the_hub_does_not_give_is_one_clear_error(
    file: Path, tmp_path: Path, known: Mapping[str, Mapping[str, bytes]], gated: str, message: str
) -> None:
    with serve(known, gated) as (hub, _):
        done = harness(tmp_path, hub, "models", "fetch", str(file))
    assert done.returncode == 1
    assert message in done.stderr
    assert "→" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("offline", [True, False])
def test_without_a_network_it_says_so(file: Path, tmp_path: Path, offline: bool) -> None:
    done = harness(tmp_path, "http://127.0.0.1:1", "models", "fetch", str(file), offline=offline)
    assert done.returncode == 1
    assert "the model org/see could not be fetched" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sweep_without_models_of_the_hub_needs_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch", str(write_sweep(tmp_path))]) == 0
    assert "no model of the hub is named" in capsys.readouterr().out
    assert main(["models", "fetch"]) == 2


def test_data_are_prepared_where_a_sweep_will_read_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    path = write_sweep(tmp_path)
    small = ["data.microworld.train_scenes=30", "data.microworld.test_scenes=20", "data.microworld.support_scenes=10"]
    assert main(["data", "prepare", str(path), *small, "--results", str(tmp_path / "r")]) == 0
    folder = Path(capsys.readouterr().out.strip().splitlines()[-1].removeprefix("pooling: "))
    assert folder.is_relative_to(tmp_path / "cache")
    assert list(folder.iterdir())
    assert not (tmp_path / "r").exists()
