"""``harness run FILE --only ID``: one stage, in this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from harness.cli import main
from harness.cli.single import find
from harness.errors import SpecError
from harness.launch import foreground, local
from harness.plan import Plan
from harness.report import figures
from harness.store import Owner, Store, Terms
from harness.store import store as stores
from tests.executors import REGISTRY
from tests.synthetic import make_plan
from tests.test_cli_run import behave, small_sweep

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = tmp_path / "registry.json"
    registry.write_text(json.dumps(REGISTRY))
    monkeypatch.setattr(foreground, "compute", partial(foreground.compute, registry=registry))
    monkeypatch.setattr(local, "run", partial(local.run, registry=registry))
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr(figures, "write", lambda table, store, folder, names: [])


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make_plan(small_sweep(tmp_path))


def only(folder: Path, wanted: str, *arguments: str) -> int:
    results = ["--results", str(folder / "results")]
    return main(["run", str(folder / "pooling.yaml"), "--only", wanted, *arguments, *results])


def store_of(folder: Path) -> Store:
    return Store(folder / "results")


def test_a_stage_is_computed_here_with_what_it_needs_and_is_a_result_like_any_other(
    tmp_path: Path, plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = plan.stages[plan.runs[0].evaluate["coco"]]
    assert only(tmp_path, stage.id[:6]) == 0
    out = capsys.readouterr().out
    assert f"{stage} needs 4 stages first that are not done" in out
    assert "step 4/4, loss 1.200" in out
    assert "writing the microworld" in out
    store = store_of(tmp_path)
    done = {each.id for each in plan.stages.values() if store.is_done(each)}
    assert done == {*plan.runs[0].features, *plan.runs[0].train, stage.id}
    store.outputs(stage)
    assert [attempt.state for attempt in store.attempts(stage)] == ["finished"]
    assert store.holder(stage) is None
    assert "=== attempt 1" in (store.path(stage) / "log.txt").read_text()
    assert only(tmp_path, stage.id[:6]) == 0
    assert "is done" in capsys.readouterr().out
    # The sweep knows it, and goes on from there.
    assert main(["status", "pooling", "--json", "--results", str(tmp_path / "results")]) == 3
    assert json.loads(capsys.readouterr().out)["counts"]["done"] == len(done)
    command = ["run", str(tmp_path / "pooling.yaml"), "--processes", "1", "--results", str(tmp_path / "results")]
    assert main(command) == 0
    assert f"{len(done)} to reuse" in capsys.readouterr().out


def test_a_stage_has_names(tmp_path: Path, plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    stage = plan.stages[plan.runs[0].train[0]]
    assert only(tmp_path, stage.slug) == 0
    assert store_of(tmp_path).is_done(stage)
    assert only(tmp_path, stage.slug[:-1] + "8") == 2
    assert f"Did you mean {stage.slug}" in capsys.readouterr().err


def test_names_that_several_stages_have_are_refused(plan: Plan) -> None:
    first, second, *_ = plan.stages.values()
    twins = replace(plan, stages={first.id: first, second.id: replace(second, slug=first.slug)})
    with pytest.raises(SpecError, match="2 stages are called so"):
        find(twins, first.slug)


def test_a_failure_is_short_and_with_debug_the_executors_own(
    tmp_path: Path, plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    behave(tmp_path, fail="main-seed0-tokens=4")
    stage = next(each for each in plan.stages.values() if each.slug.startswith("main-seed0-tokens=4"))
    assert only(tmp_path, stage.id) == 3
    out, err = capsys.readouterr()
    assert "about to fail" in out
    assert "ValueError: no good" in err
    assert "--only" in err
    assert "--debug" in err
    assert "Traceback" not in out + err
    store = store_of(tmp_path)
    log = (store.path(stage) / "log.txt").read_text()
    assert "about to fail" in log
    assert 'raise ValueError("no good")' in log
    assert store.attempts(stage)[-1].reason == "ValueError: no good"
    with pytest.raises(ValueError, match="no good") as caught:
        only(tmp_path, stage.id, "--debug")
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "train"  # where a debugger would stand
    assert len(store.attempts(stage)) == 2
    assert store.holder(stage) is None


def test_ctrl_c_leaves_it_to_be_resumed(
    tmp_path: Path, plan: Plan, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = plan.stages[plan.runs[0].features[0]]

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.launch.foreground.work", interrupt)
    assert only(tmp_path, stage.id) == 3
    assert "go on with: harness run" in capsys.readouterr().err
    store = store_of(tmp_path)
    assert store.attempts(stage)[-1].retryable
    assert store.holder(stage) is None


def hold(store: Store, plan: Plan, **owner: object) -> Path:
    """The lease of the first stage in the hands of somebody else; returns its folder."""
    stage = plan.stages[plan.runs[0].features[0]]
    store.open(stage)
    folder = store.root / "leases" / stage.id
    (folder / "1.json").write_text(json.dumps(replace(Owner.current(), **owner).to_json()))  # type: ignore[arg-type]
    return folder


def test_a_living_job_is_named_with_how_to_cancel_it(
    tmp_path: Path, plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    hold(store_of(tmp_path), plan, host="n7", job="41_0")
    assert only(tmp_path, plan.runs[0].train[0]) == 1  # its input is what the job computes
    err = capsys.readouterr().err
    assert "job 41_0 on n7 is computing features" in err
    assert "scancel 41_0" in err


def test_a_process_here_is_named(tmp_path: Path, plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    hold(store_of(tmp_path), plan)
    assert only(tmp_path, plan.runs[0].features[0]) == 1
    assert f"kill {os.getpid()}" in capsys.readouterr().err


def test_a_worker_elsewhere_that_does_not_stir_is_taken_over(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stores.Terms, "of", lambda root: Terms(interval=60, patience=0.5, poll=0.05))
    folder = hold(store_of(tmp_path), plan, host="n7", job="41_0")
    assert only(tmp_path, plan.runs[0].features[0]) == 0
    assert not folder.exists()


@pytest.mark.parametrize("options", [["--cluster", "slurm"], ["--processes", "2"], ["--repair"]])
def test_options_of_whole_runs_are_refused(
    tmp_path: Path, plan: Plan, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert only(tmp_path, plan.runs[0].features[0], *options) == 2
    assert "--only" in capsys.readouterr().err


def test_it_computes_what_a_worker_computes_to_the_bit(tmp_path: Path) -> None:
    """In processes of their own, whose libraries would use two threads."""
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "name: few\nrecipe: idefics2\nscale: smoke\n"
        "factors: {tokens: {key: model.connector.num_tokens, levels: [4, 9]}}\nbaseline: {tokens: 9}\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}

    def call(*arguments: object) -> str:
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout

    planned = json.loads(call("-m", "harness", "plan", file, "--json"))
    stage_id = next(stage["id"] for stage in planned["stages"] if stage["kind"] == "train")
    script = (
        "import sys; from pathlib import Path; from harness.cli.planning import make_plan\n"
        "from harness.launch import local; from harness.store import Store\n"
        "plan = make_plan(Path(sys.argv[1]), []); wanted = plan.stages[sys.argv[3]]\n"
        "stages = [*(plan.stages[stage_id] for stage_id in wanted.inputs.values()), wanted]\n"
        "assert local.run(Store(sys.argv[2]), stages, processes=1).complete"
    )
    call("-m", "harness", "run", file, "--only", stage_id, "--results", tmp_path / "here")
    call("-c", script, file, tmp_path / "there", stage_id)
    here, there = (Store(tmp_path / name).outputs(stage_id).record for name in ("here", "there"))
    same = {name for name, output in here.outputs.items() if there.outputs[name].sha256 == output.sha256}
    assert any(name.endswith(".safetensors") for name in same)
    assert {name for name in here.outputs if name.endswith(".safetensors")} <= same
