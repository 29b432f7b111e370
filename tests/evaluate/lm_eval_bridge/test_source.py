from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.evaluate.lm_eval_bridge.source import Arguments, source_of


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


def test_importing_the_bridge_imports_neither_lm_eval_nor_torch() -> None:
    import subprocess
    import sys

    code = "import sys, harness.evaluate.lm_eval_bridge; print([m for m in ('lm_eval', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
