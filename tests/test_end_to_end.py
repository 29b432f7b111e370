"""The main job through the command line, at the scale of a smoke test: real data, real stages, real workers."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from harness.data.dataset import Dataset
from harness.data.features import FeatureTable
from harness.models.backbones.vision import VisionBackbone
from harness.models.processor import load_image_processor
from tests.main_job import SWEEP, finished_attempts, harness, score_files, start

SCORES = {"vqav2", "textvqa", "okvqa", "coco", "mean"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep") / "smoke.yaml"
    path.write_text(SWEEP)
    return path


@pytest.fixture(scope="module")
def undisturbed(cache: Path, sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("results")
    harness(cache, "run", sweep, "--results", results)
    return results


def test_one_file_gives_a_table(undisturbed: Path, cache: Path) -> None:
    table = json.loads(harness(cache, "table", "smoke", "--results", undisturbed, "--json"))
    assert table["name"] == "smoke"
    assert [row["variant"] for row in table["rows"] if row["baseline"]] == [{"tokens": "9"}]
    for row in table["rows"]:
        assert row["status"] == "complete"
        assert row["scores"].keys() == row["difference"].keys() == SCORES
        for score in row["scores"].values():
            assert score["low"] <= score["mean"] <= score["high"]
            assert score["n"] > 0
            assert score["blind"] is not None
        assert 0 < row["parameters"]["trainable"] < row["parameters"]["total"]
        assert row["visual_tokens"] == int(row["variant"]["tokens"])
        assert row["train_flops"] > 0
        assert row["train_seconds"] > 0


def test_every_run_has_a_clean_audit(undisturbed: Path) -> None:
    audits = [json.loads(path.read_text()) for path in undisturbed.glob("stages/train/*/audit.json")]
    assert len(audits) == 4
    for audit in audits:
        assert audit["problems"] == []
        assert sorted(audit["declared"]) == sorted(audit["changed"])
    orders = {path.parent.name.split("-")[0]: [] for path in undisturbed.glob("stages/train/*/audit.json")}
    for path in undisturbed.glob("stages/train/*/audit.json"):
        orders[path.parent.name.split("-")[0]].append(json.loads(path.read_text())["document_order_sha256"])
    assert all(len(set(digests)) == 1 for digests in orders.values()), "variants saw different data"


def test_the_table_of_features_holds_what_the_encoder_sees_of_each_image(undisturbed: Path) -> None:
    for folder in undisturbed.glob("stages/features/*"):
        stage = json.loads((folder / "stage.json").read_text())
        backbone, size = stage["location"]["vision"], stage["config"]["image"]["size"]
        encoder, process = VisionBackbone.from_pretrained(backbone, size).eval(), load_image_processor(backbone, size)
        dataset, table = Dataset.open(Path(stage["location"]["data"])), FeatureTable.open(folder)
        for key in random.Random(0).sample(table.keys, 5):
            pixels = process([dataset.image(key)], return_tensors="pt")["pixel_values"]
            with torch.no_grad():
                seen = encoder(pixels).values
            torch.testing.assert_close(torch.from_numpy(table.rows([key])), seen, atol=2e-2, rtol=2e-3)


def test_running_again_does_nothing(undisturbed: Path, cache: Path, sweep: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.glob("stages/*/*/done.json")}
    plan = json.loads(harness(cache, "plan", sweep, "--results", undisturbed, "--json"))
    assert {stage["state"] for stage in plan["stages"]} == {"reuse"}
    harness(cache, "run", sweep, "--results", undisturbed)
    assert {path: path.stat().st_mtime_ns for path in undisturbed.glob("stages/*/*/done.json")} == before


@pytest.mark.parametrize(
    ("override", "new"),
    [
        ("factors.tokens.levels=[4,9,16]", {"train": 2, "evaluate": 4}),
        ("seeds=[0,1]", {"train": 4, "evaluate": 8}),
    ],
)
def test_plan_says_that_only_what_is_new_would_run(
    undisturbed: Path, cache: Path, sweep: Path, override: str, new: dict[str, int]
) -> None:
    plan = json.loads(harness(cache, "plan", sweep, override, "--results", undisturbed, "--json"))
    runs: dict[str, int] = {}
    for stage in plan["stages"]:
        if stage["state"] != "reuse":
            runs[stage["kind"]] = runs.get(stage["kind"], 0) + 1
    assert runs == new


def test_killed_at_random_moments_the_scores_are_the_same_to_the_bit(
    undisturbed: Path, cache: Path, sweep: Path, tmp_path: Path
) -> None:
    rng = random.Random(20261122)
    for _ in range(5):
        process = start(cache, "run", sweep, "--results", tmp_path)
        time.sleep(rng.uniform(1.0, 9.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    harness(cache, "run", sweep, "--results", tmp_path)
    assert score_files(tmp_path) == score_files(undisturbed)
    assert len(score_files(tmp_path)) == 8
    assert set(finished_attempts(tmp_path).values()) == {1}
