from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.plan import sweeps
from harness.store import Stage
from tests.synthetic import make_plan, record, write_sweep


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "/etc", "a\\b", "", ".hidden", "a..b", "x" * 101, "a b", "é"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError):
        sweeps.sweep_folder(tmp_path, name)


def test_the_record_survives_the_way_through_a_file(tmp_path: Path) -> None:
    plan = make_plan(write_sweep(tmp_path))
    value = record(plan)
    path = sweeps.save(tmp_path / "results", "pooling", value)
    assert path == tmp_path / "results" / "sweeps" / "pooling" / "sweep.json"
    assert sweeps.read(path) == json.loads(json.dumps(value))
    assert list(sweeps.saved_sweeps(tmp_path / "results")) == [sweeps.read(path)]
    assert [Stage.from_json(each).id for each in value["stages"]] == list(plan.stages)
    assert {each["id"]: each["flops"] for each in value["stages"]}.keys() == set(plan.stages)


def test_damaged_records_are_left_out(tmp_path: Path) -> None:
    for name, text in (("a", "{"), ("b", "[]"), ("c", "{}"), ("d", '{"stages": []}')):
        path = tmp_path / "sweeps" / name / "sweep.json"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert list(sweeps.saved_sweeps(tmp_path)) == [{"stages": []}]


def test_tasks_are_those_that_all_variants_have(tmp_path: Path) -> None:
    factors = {
        "which": {
            "levels": {"all": {"evaluation.shots": 4}, "two": {"evaluation.tasks": {"coco": None, "okvqa": None}}}
        }
    }
    plan = make_plan(
        write_sweep(tmp_path, factors=factors, baseline={"which": "all"}, claims=[], positive_control=None)
    )
    assert record(plan)["tasks"] == ["vqav2", "textvqa"]
