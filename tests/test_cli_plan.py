from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from harness.cli import main
from harness.report.layout import width
from harness.store import Store
from tests.synthetic import finish_run, make_plan, write_sweep


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_sweep(tmp_path)


def test_every_variant_and_stage_with_state_and_reason(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan(file)
    finish_run(Store(tmp_path / "results"), plan, plan.runs[0])
    assert main(["plan", str(file), "--results", str(tmp_path / "results")]) == 0
    text = capsys.readouterr().out
    assert "4 variants × 1 seed, 26 stages: 18 to run, 8 to reuse" in text
    for variant in plan.sweep.variants:
        assert variant.name in text
    for stage in plan.stages.values():
        assert stage.name in text
    assert "finished 20" in text
    assert "model.connector.num_tokens: 9 → 4" in text


@pytest.mark.parametrize("room", [60, 80, 120])
def test_a_terminal_is_never_too_narrow(
    room: int, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(room))
    assert main(["plan", str(file), "--results", str(tmp_path / "results")]) == 0
    out = capsys.readouterr().out
    assert max(map(width, out.splitlines())) <= room
    folded = "".join(out.split())
    for stage in make_plan(file).stages.values():
        assert stage.name in folded


def test_json_holds_the_same(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(file)
    assert main(["plan", str(file), "--json", "--results", str(tmp_path / "results")]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["name"] == "pooling"
    assert value["stages_by_state"] == {"reuse": 0, "resume": 0, "run": 26, "skip": 0}
    assert [stage["id"] for stage in value["stages"]] == list(plan.stages)
    assert {stage["state"] for stage in value["stages"]} == {"run"}
    assert value["stages"][0]["runs"] == 4
    assert all(stage["reason"] and stage["core_seconds"] > 0 for stage in value["stages"])
    assert sum(stage["core_seconds"] for stage in value["stages"]) == pytest.approx(value["core_seconds"], rel=0.01)
    assert {variant["visual_tokens"] for variant in value["variants"]} == {4, 9}


def test_the_width_of_a_matched_connector_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kinds = {"small": {"model.connector.parameters": 20_000}, "large": {"model.connector.parameters": 2e5}}
    factors = {"size": {"levels": {name: {"model.connector.kind": "mlp", **level} for name, level in kinds.items()}}}
    file = write_sweep(tmp_path, factors=factors, baseline={"size": "small"}, claims=[], positive_control=None)
    assert main(["plan", str(file), "--results", str(tmp_path / "results")]) == 0
    text = capsys.readouterr().out
    assert "size=small: a hidden_size of 307 gives the connector 20,019 parameters" in text
    assert main(["plan", str(file), "--json", "--results", str(tmp_path / "results")]) == 0
    first = json.loads(capsys.readouterr().out)["variants"][0]
    assert (first["matched"], first["parameters"]["connector"]) == ({"hidden_size": 307}, 20_019)
    factors["size"]["levels"]["small"]["model.connector.parameters"] = 5
    file = write_sweep(tmp_path, factors=factors, baseline={"size": "small"}, claims=[], positive_control=None)
    assert main(["plan", str(file), "--results", str(tmp_path / "results")]) == 1
    assert "the nearest, 1, gives 129" in capsys.readouterr().err


def test_a_plan_writes_nothing(file: Path, tmp_path: Path) -> None:
    main(["plan", str(file), "--results", str(tmp_path / "results")])
    assert not (tmp_path / "results").exists()


def test_one_more_seed_is_said_beforehand(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(file)
    for run in plan.runs:
        finish_run(Store(tmp_path / "results"), plan, run)
    main(["plan", str(file), "seeds=[0,1]", "--results", str(tmp_path / "results"), "--json"])
    assert json.loads(capsys.readouterr().out)["stages_by_state"] == {"reuse": 26, "resume": 0, "run": 24, "skip": 0}


def test_everything_done_costs_nothing(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(file)
    for run in plan.runs:
        finish_run(Store(tmp_path / "results"), plan, run)
    main(["plan", str(file), "--results", str(tmp_path / "results")])
    assert "26 to reuse; nothing to compute" in capsys.readouterr().out


def test_planning_loads_neither_torch_nor_pandas(file: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom harness.cli import main\n"
        f"code = main(['plan', {str(file)!r}, '--results', {str(tmp_path / 'results')!r}])\n"
        "print(code, [n for n in ('torch', 'transformers', 'pandas', 'scipy', 'pyarrow') if n in sys.modules],"
        " file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stderr.strip() == "0 []"


def test_a_missing_backbone_is_an_error_with_its_name(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(file), "model.vision.backbone=/no/where"]) == 1
    err = capsys.readouterr().err
    assert "/no/where" in err
    assert "→" in err


def test_what_it_could_show_comes_before_what_it_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = {"degrees": 20, "mean": 2.0}
    file = write_sweep(tmp_path, analysis={"primary": "mean", "min_effect": 3.0, "seed_noise": noise}, seeds=[0, 1, 2])
    results = ["--results", str(tmp_path / "results")]
    assert main(["plan", str(file), *results, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["expected"]
    assert found["noise"] == pytest.approx(2.0 * 2**0.5)
    assert found["detectable"]["3"] == pytest.approx(9.23, abs=0.05)  # 3.26 deviations of a difference
    assert found["seeds_for_min_effect"] == 10
    assert main(["plan", str(file), *results]) == 0
    assert "differences of mean from 9.2 points on (80 %); 10 seeds would find 3" in capsys.readouterr().out
    assert main(["plan", str(file), "seeds=[0]", *results]) == 0
    assert "One seed shows what these trained models do" in capsys.readouterr().out


def test_unknown_noise_is_said(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(file), "--results", str(tmp_path / "results")]) == 0
    assert "What this can show is not known" in capsys.readouterr().out


def test_the_queue_and_its_price_are_shown(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "ours.yaml"
    own.write_text("partition: gpu\nstages: {train: {gpus: 2}}\n")
    options = ["plan", str(file), "--results", str(tmp_path / "results"), "--cluster", str(own)]
    assert main(options) == 0
    text = capsys.readouterr().out
    assert re.search(r"In the queue: \d+ jobs in \d+ arrays, and one that looks after them; about \S+ GPU-hours", text)
    assert re.search(r"^train +\d+ +8 +2 GPUs, 1 core, 4 GB, 60 min, partition gpu ", text, re.MULTILINE)
    assert main([*options, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert sum(group["jobs"] for group in content["queue"]) == content["stages_by_state"]["run"]
    assert {group["asks_for"]["partition"] for group in content["queue"]} == {"gpu"}


def test_an_unknown_cluster_is_an_error(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(file), "--cluster", "slrum"]) == 2
    assert "did you mean slurm?" in capsys.readouterr().err


def test_a_budget_is_held_against_what_is_on_record(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = count()
    monkeypatch.setattr("harness.store.workspace.core_seconds", lambda: (float(next(seconds)), 0.0))
    store = Store(tmp_path / "results")
    for run in make_plan(file).runs:
        finish_run(store, make_plan(file), run)
    options = [str(file), "seeds=[0,1]", "--results", str(store.root)]
    assert main(["plan", *options, "budget.core_hours=1000", "budget.jobs=900"]) == 0
    assert re.search(
        r"^Budget: \S+ of 1,000 core-hours spent, about \S+ to come; 0 of 900 jobs spent", capsys.readouterr().out, re.M
    )
    assert main(["run", *options, "budget.core_hours=0.0000000001"]) == 2
    error = capsys.readouterr().err
    assert "of its budget of 1e-10, " in error
    assert "Raise budget.core_hours" in error
    assert main(["run", *options, "budget.jobs=3", "--cluster", "slurm"]) == 2
    assert "needs about 24 jobs" in capsys.readouterr().err


def test_gpus_are_priced_as_they_are_spent_by_the_time_on_the_wall(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = count(step=36_000)
    monkeypatch.setattr("harness.store.workspace.core_seconds", lambda: (float(next(seconds)), 0.0))
    store = Store(tmp_path / "results")
    for run in make_plan(file).runs:
        finish_run(store, make_plan(file), run)
    options = [str(file), "seeds=[0,1]", "cluster.gpus=1", "--results", str(store.root)]
    assert main(["plan", *options, "budget.gpu_hours=1", "budget.core_hours=1000000"]) == 0
    # What took no millisecond is not said to come.
    told = capsys.readouterr().out
    found = re.search(r"1 GPU-hours spent(?:, about (\S+) to come)?; .* about (\S+) to come", told)
    assert found is not None, told
    assert float(found[1] or 0.0) < 1.0
    assert float(found[2]) > 100.0


def test_a_budget_changes_no_result(file: Path) -> None:
    assert make_plan(file, ["budget.gpu_hours=3.0"]).sweep.digest == make_plan(file).sweep.digest
