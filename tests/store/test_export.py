from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.store import DamagedStage, Stage, Store
from harness.store.export import export


def finished(store: Store, stage: Stage) -> Stage:
    work = store.open(stage)
    work.write_bytes("model/weights.bin", b"heavy" * 100)
    work.write_bytes("telemetry.parquet", b"light")
    work.finish("complete", {"steps": 3})
    return stage


@pytest.fixture
def stage() -> Stage:
    return Stage("train", 1, {"steps": 3}, digests={"data": "d" * 64}, slug="a", location={"data": "/home/me/data"})


def light(name: str) -> bool:
    return not name.startswith("model/")


def test_what_is_kept_is_verified_and_what_is_not_is_named(store: Store, stage: Stage, tmp_path: Path) -> None:
    finished(store, stage)
    assert export(store, [stage.id, "0" * 16], tmp_path / "out", light) == [stage.id]
    copy = Store(tmp_path / "out")
    outputs = copy.outputs(stage)
    assert outputs.path("telemetry.parquet").read_bytes() == b"light"
    assert outputs.record.summary == {"steps": 3}
    assert set(outputs.record.left_out) == {"model/weights.bin"}
    assert outputs.record.left_out == {"model/weights.bin": store.outputs(stage).record.outputs["model/weights.bin"]}
    with pytest.raises(HarnessError, match=r"exported without its weights.*"):
        outputs.path("model/weights.bin")
    outputs.path("telemetry.parquet").write_bytes(b"other")
    with pytest.raises(DamagedStage, match=r"telemetry.parquet"):
        Store(tmp_path / "out").outputs(stage)


def test_nothing_of_this_machine_goes_along(store: Store, stage: Stage, tmp_path: Path) -> None:
    finished(store, stage)
    export(store, [stage.id], tmp_path / "out", light)
    texts = [path.read_text() for path in (tmp_path / "out").rglob("*.json")]
    assert texts
    assert not any("/home/me" in text or "host" in json.loads(text).get("provenance", {}) for text in texts)


def test_twice_is_once_and_a_merged_store_reads_it(store: Store, stage: Stage, tmp_path: Path) -> None:
    finished(store, stage)
    assert export(store, [stage.id], tmp_path / "out", light) == [stage.id]
    assert export(store, [stage.id], tmp_path / "out", light) == []
    other = Store(tmp_path / "other")
    finished(other, Stage("train", 1, {"steps": 4}))
    shutil.copytree(tmp_path / "out", tmp_path / "other", dirs_exist_ok=True)
    assert Store(tmp_path / "other").is_done(stage)
    again = tmp_path / "again"
    assert export(Store(tmp_path / "out"), [stage.id], again, light) == [stage.id]
    assert set(Store(again).outputs(stage).record.left_out) == {"model/weights.bin"}


def test_nothing_is_computed_from_what_stayed_behind(store: Store, stage: Stage, tmp_path: Path) -> None:
    finished(store, stage)
    export(store, [stage.id], tmp_path / "out", light)
    copy = Store(tmp_path / "out")
    after = Stage("evaluate", 1, {}, inputs={"model": stage.id})
    with pytest.raises(HarnessError, match="exported without its weights") as refused:
        copy.open(after)
    assert "--repair" in str(refused.value.remedy)
    (moved,) = copy.repair([stage])
    assert "exported" in moved.reason
    assert not copy.is_done(stage)


def test_an_unfinished_sweep_has_nothing_to_export(store: Store, stage: Stage, tmp_path: Path) -> None:
    store.register(stage)
    with pytest.raises(HarnessError, match="Nothing of this sweep is finished"):
        export(store, [stage.id], tmp_path / "out", light)
    assert not (tmp_path / "out").exists()
