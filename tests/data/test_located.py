from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.data.layout import CAPTIONS
from harness.data.located import open_stage_data
from harness.data.manifest import MANIFEST, Manifest, load_or_build
from harness.errors import HarnessError
from harness.store import Stage


@pytest.fixture
def own(copy: Path, tmp_path: Path) -> tuple[Path, Stage]:
    """A user's folder that holds no manifest, for it cannot be written to, and a stage that was planned with it."""
    manifest = load_or_build(copy)
    (copy / MANIFEST).unlink()
    manifests = tmp_path / "manifests"
    shutil.copy(_stored(manifest, copy, manifests), tmp_path / "kept")
    stage = Stage(
        "features",
        1,
        {},
        digests={"data": manifest.digest[:32]},
        location={"data": str(copy), "manifests": str(manifests)},
    )
    return copy, stage


def _stored(manifest: Manifest, folder: Path, cache: Path) -> Path:
    """The manifest in the cache, where it goes when the folder refuses it (root may write anywhere: moved)."""
    from harness.data.manifest import _places

    path = _places(folder, cache)[-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(manifest.store(folder), path)
    return path


def test_files_are_checked_against_a_manifest_outside_the_folder(own: tuple[Path, Stage]) -> None:
    folder, stage = own
    path = folder / CAPTIONS.format(subtype="val2014")
    assert open_stage_data(stage).examples("coco", "test")
    path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))
    with pytest.raises(HarnessError, match=path.name):
        open_stage_data(stage).examples("coco", "test")


def test_a_folder_without_any_manifest_is_refused(own: tuple[Path, Stage], tmp_path: Path) -> None:
    folder, stage = own
    shutil.rmtree(tmp_path / "manifests")
    with pytest.raises(HarnessError, match=f"manifest of {folder} is gone"):
        open_stage_data(stage)


def test_other_data_than_planned_is_refused(own: tuple[Path, Stage], tmp_path: Path) -> None:
    folder, stage = own
    (folder / "more.txt").write_text("x")
    _stored(Manifest.build(folder), folder, tmp_path / "manifests")
    with pytest.raises(HarnessError, match="holds other data than when"):
        open_stage_data(stage)
