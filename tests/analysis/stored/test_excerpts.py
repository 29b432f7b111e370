from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from harness.analysis import SavedSweep
from harness.analysis.stored import excerpts
from harness.analysis.stored.excerpts import read_sweep
from harness.errors import HarnessError
from harness.plan import Plan
from harness.plan.sweeps import save
from harness.store import Store
from tests.synthetic import record


@pytest.fixture
def path(store: Store, plan: Plan) -> Path:
    return save(store.root, plan.sweep.name, record(plan))


def same(one: SavedSweep, two: SavedSweep) -> bool:
    mine, theirs = (
        {key: value for key, value in sweep.__dict__.items() if key != "stages"} | {"stages": dict(sweep.stages)}
        for sweep in (one, two)
    )
    return mine == theirs


def test_the_sweep_of_an_excerpt_is_that_of_the_record(store: Store, path: Path) -> None:
    plain = read_sweep(path, store.root)
    assert not (store.root / "cache").exists()
    assert same(read_sweep(path, store.root, worth=0), plain)
    with mock.patch.object(excerpts, "_excerpt", side_effect=AssertionError):
        warm = read_sweep(path, store.root, worth=0)
        assert same(warm, plain)
    kept = store.root / excerpts.FOLDER / "pooling.json"
    assert kept.stat().st_size < path.stat().st_size / 3


def test_a_changed_record_is_read_again(store: Store, path: Path) -> None:
    read_sweep(path, store.root, worth=0)
    path.write_text(path.read_text().replace("How far", "How deep"))
    assert read_sweep(path, store.root, worth=0).question.startswith("How deep")
    assert read_sweep(path, store.root, worth=0).question.startswith("How deep")


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff\n\xff", None])
def test_a_damaged_excerpt_is_made_again(store: Store, path: Path, damage: bytes | None) -> None:
    plain = read_sweep(path, store.root, worth=0)
    kept = store.root / excerpts.FOLDER / "pooling.json"
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-50] if damage is None else damage)
    assert same(read_sweep(path, store.root, worth=0), plain)
    assert kept.read_bytes() == whole


def test_a_stage_that_is_not_what_it_claims_is_named(store: Store, path: Path) -> None:
    value: dict[str, Any] = json.loads(path.read_bytes())
    value["stages"][0]["config"]["added"] = 1
    path.write_text(json.dumps(value))
    for _ in range(2):
        sweep = read_sweep(path, store.root, worth=0)
        with pytest.raises(HarnessError, match=r"sweep\.json is damaged"):
            dict(sweep.stages)
