from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.evaluate.lm_eval_bridge.source import Arguments, source_of
from harness.store import Stage, Store


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "which model"),
        ({"data": "x"}, "which model"),
        ({"stage": "x", "shots": 2}, "shots beside stage"),
        ({"model": "x", "shorts": 2}, "unknown shorts"),
    ],
)
def test_arguments_that_make_no_sense(values: dict[str, object], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        Arguments.of(values)


def test_model_and_tasks_share_one_source() -> None:
    assert source_of({"model": "x", "shots": 2}) is source_of({"shots": 2, "model": "x"})
    assert source_of({"model": "x", "shots": 2}) is not source_of({"model": "x", "shots": 3})


def test_a_task_needs_data() -> None:
    with pytest.raises(HarnessError, match="harness_vqav2 needs data"):
        source_of({"model": "x"}).task("vqav2")


@pytest.mark.parametrize("name", ["ID", "EVALUATE_ID", "vqav2", "no/such/folder"])
def test_what_is_no_stage_is_refused_with_how_to_find_one(name: str) -> None:
    with pytest.raises(HarnessError, match=f"stage={name}: that is no id of a stage") as caught:
        source_of({"stage": name}).task("vqav2")
    assert "harness status NAME --json" in caught.value.remedy


def test_a_stage_that_evaluates_nothing_is_refused_with_how_to_find_one_that_does(tmp_path: Path) -> None:
    stage = Stage("train", 1, {"name": "main"}, slug="main")
    Store(tmp_path).register(stage)
    with pytest.raises(HarnessError, match=f"{stage.id} is a stage of the kind train") as caught:
        source_of({"stage": stage.id, "results": str(tmp_path)}).task("vqav2")
    assert "harness status NAME --json" in caught.value.remedy


def test_importing_the_bridge_imports_neither_lm_eval_nor_torch() -> None:
    import subprocess
    import sys

    code = "import sys, harness.evaluate.lm_eval_bridge; print([m for m in ('lm_eval', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
