from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.plan import weights
from harness.plan.weights import Backbones
from tests.synthetic import LANGUAGE, write_backbone


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_backbone(tmp_path / "model", LANGUAGE, b"w" * 100)


@pytest.fixture
def backbones(tmp_path: Path) -> Backbones:
    return Backbones(tmp_path / "cache" / "weights.json")


def test_digest_follows_content_not_place(folder: Path, backbones: Backbones, tmp_path: Path) -> None:
    twin = write_backbone(tmp_path / "elsewhere" / "copy", LANGUAGE, b"w" * 100)
    assert backbones.digest(folder) == backbones.digest(twin)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "merges.txt", "sub/x.safetensors"]
)
def test_every_loaded_file_counts(folder: Path, backbones: Backbones, name: str) -> None:
    before = backbones.digest(folder)
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(path.read_bytes() + b" " if path.exists() else b"{}")
    assert backbones.digest(folder) != before


@pytest.mark.parametrize("name", ["README.md", "card.json", "LICENSE.txt", "pytorch_model.bin", ".cache/x.json"])
def test_what_is_not_loaded_does_not_count(folder: Path, backbones: Backbones, name: str) -> None:
    before = backbones.digest(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}")
    assert backbones.digest(folder) == before


def test_names_of_files_are_part_of_the_content(folder: Path, backbones: Backbones) -> None:
    (folder / "a.json").write_text("1")
    before = backbones.digest(folder)
    (folder / "a.json").rename(folder / "b.json")
    assert backbones.digest(folder) != before


class Reads:
    """Counts the files that are read in full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        original = weights.digest_file

        def counted(path: Path) -> tuple[str, int]:
            self.names.append(path.name)
            return original(path)

        monkeypatch.setattr(weights, "digest_file", counted)


def test_large_files_are_read_once(folder: Path, backbones: Backbones, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "SMALL", 50)
    reads = Reads(monkeypatch)
    first = backbones.digest(folder)
    assert "model.safetensors" in reads.names
    reads.names.clear()
    assert backbones.digest(folder) == first
    assert "model.safetensors" not in reads.names


def test_small_files_are_read_every_time(folder: Path, backbones: Backbones, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Reads(monkeypatch)
    backbones.digest(folder)
    reads.names.clear()
    backbones.digest(folder)
    assert "model.safetensors" in reads.names


def test_other_weights_of_the_same_size_and_times_are_noticed(
    folder: Path, backbones: Backbones, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "SMALL", 50)
    before = backbones.digest(folder)
    path = folder / "model.safetensors"
    status = path.stat()
    path.write_bytes(b"v" * 100)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert backbones.digest(folder) != before


@pytest.mark.parametrize("key", ["size", "modified", "changed", "inode", "probe"])
def test_any_evidence_against_a_kept_digest_is_enough(
    folder: Path, backbones: Backbones, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr(weights, "SMALL", 150)
    (folder / "model.safetensors").write_bytes(b"w" * 200)
    right = backbones.digest(folder)
    kept = json.loads(backbones.manifest.read_text())
    (entry,) = [entry for path, entry in kept.items() if path.endswith("model.safetensors")]
    assert set(entry["evidence"]) == {"size", "modified", "changed", "inode", "probe"}
    entry["sha256"] = "0" * 64
    backbones.manifest.write_text(json.dumps(kept))
    assert backbones.digest(folder) != right  # the kept digest is believed …
    entry["evidence"][key] = "other"
    backbones.manifest.write_text(json.dumps(kept))
    assert backbones.digest(folder) == right  # … only while everything agrees


def test_the_probe_reads_the_start_the_end_and_between(tmp_path: Path) -> None:
    path = tmp_path / "large"
    size = 64 * 20_000
    content = bytearray(size)
    path.write_bytes(content)
    probes = {weights._probe(path, size)}
    step = (size - weights.PROBE_BYTES) / (weights.PROBES - 1)
    for place in (0, int(step * 31) + 5, size - 1):
        changed = bytearray(content)
        changed[place] = 1
        path.write_bytes(changed)
        probes.add(weights._probe(path, size))
    assert len(probes) == 4


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 1}'])
def test_a_damaged_manifest_only_costs_time(folder: Path, backbones: Backbones, content: str) -> None:
    before = backbones.digest(folder)
    backbones.manifest.parent.mkdir(exist_ok=True)
    backbones.manifest.write_text(content)
    assert backbones.digest(folder) == before


def test_a_manifest_that_cannot_be_written_only_costs_time(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "SMALL", 50)
    (tmp_path / "file").write_text("")
    assert Backbones(tmp_path / "file" / "weights.json").digest(folder)


def test_zoo_names_lead_to_the_package(backbones: Backbones) -> None:
    found = backbones.resolve("zoo/vision-base")
    assert found.directory.name == "vision-base"
    assert found.config["model_type"] == "siglip_vision_model"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("zoo/nothing", "not installed"),
        ("/no/such/folder", "not a folder"),
        ("org/never-downloaded", "hf download org/never-downloaded"),
        ("not a name at all", "neither a folder nor a hub id"),
    ],
)
def test_unknown_backbones_are_refused_with_a_remedy(
    backbones: Backbones, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, part: str
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    with pytest.raises(HarnessError) as caught:
        backbones.resolve(name)
    assert part in str(caught.value)
    assert caught.value.remedy


def test_folders_without_weights_or_config_are_refused(folder: Path, backbones: Backbones) -> None:
    (folder / "config.json").write_text("[1]")
    with pytest.raises(HarnessError, match="not a JSON object"):
        _ = backbones.resolve(str(folder)).config
    (folder / "model.safetensors").unlink()
    with pytest.raises(HarnessError, match="no safetensors"):
        Backbones(backbones.manifest).resolve(str(folder))


def test_hub_models_are_identified_by_their_commit(
    backbones: Backbones, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "models--org--name"
    commit = "a" * 40
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(f"{commit}\n")
    with pytest.raises(HarnessError, match="incomplete"):
        backbones.resolve("org/name")
    write_backbone(folder / "snapshots" / commit, LANGUAGE)
    found = backbones.resolve("org/name")
    assert (found.digest, found.directory) == (commit, folder / "snapshots" / commit)
