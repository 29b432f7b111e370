from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from harness.data.dataset import Dataset
from harness.data.manifest import MANIFEST, Manifest, VerifiedFiles, load_or_build
from harness.errors import HarnessError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "coco").mkdir(parents=True)
    (folder / "coco/a.json").write_text("[1]")
    (folder / "b ü.tar").write_bytes(b"x" * 3000)
    (folder / ".hidden").write_text("no")
    return folder


def test_the_digest_is_of_names_and_contents_alone(root: Path, tmp_path: Path) -> None:
    first = Manifest.build(root)
    assert set(first.files) == {"coco/a.json", "b ü.tar"}
    shutil.copytree(root, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*"):
        os.utime(path, (1, 1))
    assert Manifest.build(tmp_path / "copy").digest == first.digest
    (tmp_path / "copy/coco/a.json").write_text("[2]")
    second = Manifest.build(tmp_path / "copy").digest
    (tmp_path / "copy/coco/a.json").rename(tmp_path / "copy/coco/c.json")
    third = Manifest.build(tmp_path / "copy").digest
    assert len({first.digest, second, third}) == 3


def test_it_is_built_once_and_stored(root: Path) -> None:
    seen: list[tuple[int, int]] = []
    built = load_or_build(root, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3003, 3003)
    assert (root / MANIFEST).is_file()
    seen.clear()
    again = load_or_build(root, progress=lambda done, total: seen.append((done, total)))
    assert again == built
    assert again.digest == built.digest
    assert not seen


def test_a_folder_that_cannot_be_written_has_its_manifest_in_the_cache(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.data import manifest

    original = manifest.write_bytes

    def refuse(path: Path, data: bytes) -> None:
        if root in path.parents:
            raise PermissionError(13, "Permission denied")
        original(path, data)

    monkeypatch.setattr(manifest, "write_bytes", refuse)
    cache = tmp_path / "cache"
    built = load_or_build(root, cache)
    assert not (root / MANIFEST).exists()
    assert Manifest.load(root) is None
    assert Manifest.load(root, cache) == built
    with pytest.raises(PermissionError):
        built.store(root)


def test_changes_are_told_by_name_and_size(root: Path) -> None:
    manifest = Manifest.build(root)
    assert manifest.changes(root) == []
    (root / "new.json").write_text("1")
    (root / "coco/a.json").unlink()
    (root / "b ü.tar").write_bytes(b"")
    assert manifest.changes(root) == ["coco/a.json is missing", "new.json is new", "b ü.tar has 0 bytes, not 3,000"]


def test_files_are_checked_when_they_are_read(root: Path) -> None:
    manifest = Manifest.build(root)
    files = VerifiedFiles(root, manifest)
    assert files.read("coco/a.json", 100) == b"[1]"
    assert files.path("b ü.tar").stat().st_size == 3000

    (root / "coco/a.json").write_text("[2]")  # the same size
    fresh = VerifiedFiles(root, manifest)
    for read in (lambda: fresh.read("coco/a.json", 100), lambda: fresh.path("coco/a.json")):
        with pytest.raises(HarnessError, match=r"a\.json has another content") as caught:
            read()
        assert "harness data index" in caught.value.remedy

    (root / "coco/a.json").write_text("[1, 2]")
    with pytest.raises(HarnessError, match="has 6 bytes, 3 when"):
        files.read("coco/a.json", 100)  # the size is looked at each time
    (root / "later.json").write_text("[]")
    with pytest.raises(HarnessError, match="came after"):
        files.path("later.json")
    with pytest.raises(HarnessError, match="is missing"):
        files.path("gone.json")
    with pytest.raises(HarnessError, match="is a folder"):
        files.path("coco")
    assert VerifiedFiles(root, None).read("later.json", 100) == b"[]"
    with pytest.raises(HarnessError, match="limit is 5"):
        VerifiedFiles(root, None).read("coco/a.json", 5)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "coco/../../secret", ""])
def test_nothing_outside_the_folder_is_read(root: Path, name: str) -> None:
    (root.parent / "secret").write_text("s")
    with pytest.raises(HarnessError, match="not a file below"):
        VerifiedFiles(root, None).read(name, 100)


def test_a_damaged_manifest_is_refused(root: Path) -> None:
    load_or_build(root)
    path = root / MANIFEST
    good = path.read_text()
    broken = json.loads(good)
    broken["files"]["coco/a.json"][0] = 4
    for content in (
        good[: len(good) // 2],
        "[]",
        "{}",
        json.dumps(broken),
        '{"format": 1, "files": {"a": 3}, "digest": ""}',
        "\xff",
    ):
        path.write_text(content, encoding="latin-1")
        with pytest.raises(HarnessError, match=r"MANIFEST\.json is damaged"):
            Manifest.load(root)
    path.write_text(json.dumps({**json.loads(good), "format": 2}))
    with pytest.raises(HarnessError, match="format 2"):
        Manifest.load(root)


def test_folders_that_cannot_be_indexed_are_refused(tmp_path: Path, root: Path) -> None:
    with pytest.raises(HarnessError, match="is missing"):
        Manifest.build(tmp_path / "none")
    with pytest.raises(HarnessError, match="is a file"):
        Manifest.build(root / "coco/a.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(HarnessError, match="is empty"):
        Manifest.build(tmp_path / "empty")
    (root / "coco/loop").symlink_to(root)
    with pytest.raises(HarnessError, match="read already"):
        Manifest.build(root)


def test_a_damaged_microworld_is_noticed_and_says_how_to_mend_it(world: Path, tmp_path: Path) -> None:
    root = tmp_path / "world"
    shutil.copytree(world, root)
    shard = root / "train/pairs-00000.tar"
    data = bytearray(shard.read_bytes())
    data[3000] ^= 1
    shard.write_bytes(data)
    with pytest.raises(HarnessError, match=r"pairs-00000\.tar has another content") as caught:
        Dataset.open(root).image("train/pairs-00000.tar::000000000.jpg")
    assert "written anew" in caught.value.remedy
