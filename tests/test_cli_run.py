"""``harness run`` and ``harness status`` with real workers and executors that take milliseconds."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from harness.cli import main, running
from harness.errors import HarnessError
from harness.launch import local, slurm
from harness.launch.events import Event, OnEvent, Report, Result
from harness.report import figures
from harness.store import Store
from tests.executors import REGISTRY
from tests.synthetic import make_plan, write_sweep

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    registry = tmp_path / "registry.json"
    registry.write_text(json.dumps(REGISTRY))
    monkeypatch.setattr(local, "run", partial(local.run, registry=registry))
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    if "again" not in request.node.name:  # figures take seconds, and one test looks at them
        monkeypatch.setattr(figures, "write", lambda table, store, folder, names: [])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))


def small_sweep(folder: Path) -> Path:
    """Two variants."""
    factors = {"tokens": {"key": "model.connector.num_tokens", "levels": [4, 9]}}
    return write_sweep(folder, factors=factors, baseline={"tokens": 9}, claims=[], positive_control=None)


def run(folder: Path, *arguments: str, processes: int = 1) -> int:
    results = ["--results", str(folder / "results"), "--processes", str(processes)]
    return main(["run", str(folder / "pooling.yaml"), *arguments, *results])


def behave(folder: Path, **behaviour: object) -> None:
    (folder / "results").mkdir(exist_ok=True)
    (folder / "results" / "behaviour.json").write_text(json.dumps(behaviour))


def test_a_sweep_from_nothing_to_its_table_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(tmp_path)
    assert run(tmp_path, processes=2) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].startswith("pooling: 4 variants × 1 seed, 26 stages: 26 to run")
    assert "writing the microworld to" in out
    assert any("train main-seed0-tokens=9,pooling=perceiver: done" in line for line in lines)
    # The first variant's row is printed as soon as it is there, before the last variant has ended.
    first = next(n for n, line in enumerate(lines) if "tokens=9,pooling=perceiver seed 0: mean" in line)
    last = max(n for n, line in enumerate(lines) if ": done (" in line)
    assert first < last
    assert sum("seed 0: mean" in line for line in lines) == 4
    assert "Contrasts" in out
    folder = tmp_path / "results" / "sweeps" / "pooling"
    assert {path.name for path in folder.iterdir()} == {
        "sweep.json",
        "table.md",
        "table.tex",
        "table.csv",
        "table.json",
        "figures",
    }
    drawn = {f"{name}.{kind}" for name in ("forest", "tokens") for kind in ("svg", "png")}
    assert {path.name for path in (folder / "figures").iterdir()} == drawn
    assert f"saved in {folder}: table.md, table.tex, table.csv, table.json, figures" in out
    saved = json.loads((folder / "table.json").read_text())
    assert saved["complete"]

    assert run(tmp_path) == 0
    again = capsys.readouterr().out
    assert "26 to reuse; nothing to compute" in again
    assert "begun" not in again
    assert json.loads((folder / "table.json").read_text()) == saved

    assert main(["status", "pooling", "--results", str(tmp_path / "results")]) == 0
    assert "4 of 4 runs complete; 26 stages: 26 done" in capsys.readouterr().out


def test_a_failure_is_shown_the_rest_goes_on_and_the_code_is_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_sweep(tmp_path)
    behave(tmp_path, fail="main-seed0-tokens=4")
    assert run(tmp_path) == 3
    out, err = capsys.readouterr()
    assert "ValueError: no good" in out
    assert 'raise ValueError("no good")' in out  # the end of the stage's log
    assert "log.txt" in out
    assert "1 stage failed" in err
    assert "go on with: harness run" in err
    assert out.count("seed 0: mean") == 1
    assert "Traceback" not in err
    results = ["--results", str(tmp_path / "results")]
    assert main(["table", "pooling", "--json", *results]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["tokens=4"]["status"] == "failed"
    assert rows["tokens=4"]["scores"]["mean"]["mean"] is None
    assert main(["status", str(tmp_path / "pooling.yaml"), "--json", *results]) == 3
    status = json.loads(capsys.readouterr().out)
    assert not status["complete"]
    assert status["counts"] == {"done": 9, "failed": 1, "blocked": 4}
    assert {each["state"] for each in status["runs"]} == {"complete", "failed"}

    (tmp_path / "results" / "behaviour.json").unlink()
    assert run(tmp_path) == 0


def test_a_diverged_run_is_complete_and_visible(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_sweep(tmp_path)
    behave(tmp_path, diverge="main-seed0-tokens=4")
    assert run(tmp_path) == 0
    out = capsys.readouterr().out
    assert "tokens=4: diverged, seed 0" in out
    assert "at step 3" in out
    assert main(["status", "pooling", "--results", str(tmp_path / "results")]) == 0
    assert "1 of 2 runs complete" in capsys.readouterr().out


def test_an_interrupted_run_says_how_to_go_on_and_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(small_sweep(tmp_path))
    behave(tmp_path, wait=["align-seed0-tokens=9", 30])
    stage = plan.stages[plan.runs[0].train[0]]

    def interrupt() -> None:
        log = tmp_path / "results" / "stages" / "train" / stage.name / "progress.json"
        deadline = time.monotonic() + 60
        while not log.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    try:
        assert run(tmp_path, processes=1) == 3
    finally:
        signal.signal(signal.SIGINT, before)
    err = capsys.readouterr().err
    assert "interrupted; nothing finished is lost, go on with: harness run" in err
    assert "--processes 1" in err
    assert main(["status", "pooling", "--results", str(tmp_path / "results")]) == 3
    capsys.readouterr()
    assert main(["plan", str(tmp_path / "pooling.yaml"), "--results", str(tmp_path / "results")]) == 0
    assert "attempt 1 was interrupted" in capsys.readouterr().out
    (tmp_path / "results" / "behaviour.json").unlink()
    assert run(tmp_path) == 0


def test_damage_is_named_and_repaired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(small_sweep(tmp_path))
    assert run(tmp_path) == 0
    folder = tmp_path / "results" / "stages" / "evaluate" / plan.stages[plan.runs[0].evaluate["coco"]].name
    (folder / "scores.parquet").write_bytes(b"PAR1")
    capsys.readouterr()
    assert run(tmp_path) == 1
    assert "scores.parquet is damaged" in capsys.readouterr().err
    assert run(tmp_path, "--repair") == 0
    assert "set aside as" in capsys.readouterr().out


def test_a_folder_with_an_annotation_without_image_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    small = ["train_scenes=4", "support_scenes=4", "validation_scenes=4", "test_scenes=4"]
    assert main(["data", "microworld", "--out", str(data), "--processes", "1", *small]) == 0
    victim = sorted((data / "coco" / "val2014").iterdir())[0]
    victim.unlink()
    (data / "MANIFEST.json").unlink()  # the folder is indexed as it is
    small_sweep(tmp_path)
    assert run(tmp_path, f"data.root={data}") == 1
    err = capsys.readouterr().err
    assert victim.name in err
    assert "Traceback" not in err
    assert not (tmp_path / "results" / "stages").exists()


class Cluster:
    """What ``harness run`` asks of Slurm."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, submission: slurm.Submission) -> None:
        self.asked: list[slurm.WantedRun] = []
        self._submission = submission
        monkeypatch.setattr(slurm, "submit", self.submit)
        monkeypatch.setattr(slurm, "run", self.run)

    def submit(self, store: Store, wanted: slurm.WantedRun, snapshot: bool, on_event: OnEvent) -> slurm.Submission:
        assert wanted.title == "pooling"
        self.asked.append(wanted)
        return self._submission

    def run(self, store: Store, wanted: slurm.WantedRun, snapshot: bool, on_event: OnEvent) -> Report:
        self.asked.append(wanted)
        for stage in wanted.stages[:2]:
            on_event(Event("submitted", stage, job="41"))
        return Report({stage.id: Result(stage, "unfinished") for stage in wanted.stages}, interrupted=signal.SIGINT)


def test_a_submission_says_how_to_follow_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(small_sweep(tmp_path))
    first, second, third, *_ = plan.stages
    cluster = Cluster(monkeypatch, slurm.Submission({first: "7"}, {second: "8"}, [third]))
    arguments = ["cluster.partition=gpu", "cluster.memory_gb=9.5", "cluster.setup=[module load x]", "runtime.threads=2"]
    assert run(tmp_path, *arguments, "--cluster", "slurm") == 0
    out = capsys.readouterr().out
    assert "1 job submitted, 1 in the queue already, 1 stage done" in out
    assert f"harness status pooling --results {tmp_path / 'results'}" in out
    (asked,) = cluster.asked
    assert [stage.id for stage in asked.stages] == list(plan.stages)
    resources = asked.wishes[0]
    assert (resources.partition, resources.memory_gb, resources.setup) == ("gpu", 9.5, ("module load x",))
    assert asked.threads == 2
    assert (tmp_path / "results" / "sweeps" / "pooling" / "sweep.json").exists()


def test_stages_that_cannot_be_submitted_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, *_ = make_plan(small_sweep(tmp_path)).stages
    Cluster(monkeypatch, slurm.Submission({first: "7"}, blocked={second: "its features has failed"}))
    assert run(tmp_path, "--cluster", "slurm") == 1
    assert "cannot run: its features has failed" in capsys.readouterr().err


def test_waiting_that_is_interrupted_leaves_the_jobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small_sweep(tmp_path)
    Cluster(monkeypatch, slurm.Submission())
    assert run(tmp_path, "--cluster", "slurm", "--wait") == 3
    out, err = capsys.readouterr()
    assert "job 41" in out
    assert "the jobs go on" in err
    assert "--cluster slurm --wait" in err


def test_results_that_cannot_be_written_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_sweep(tmp_path)
    (tmp_path / "results").symlink_to(tmp_path / "a disk that is not mounted")
    assert run(tmp_path) == 1
    out, err = capsys.readouterr()
    assert f"{tmp_path / 'results'} cannot be written" in err
    assert "--results" in err
    assert "Traceback" not in err
    assert "writing the microworld" not in out, "said before anything is computed"


def test_a_cluster_without_slurm_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small_sweep(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(tmp_path, "--cluster", "slurm") == 1
    assert "sbatch" in capsys.readouterr().err


def results_of_seed_0(folder: Path) -> Path:
    """A sweep with a finished table, in a results folder that other runs are started in."""
    small_sweep(folder)
    assert run(folder) == 0
    return folder / "results" / "sweeps" / "pooling" / "sweep.json"


@pytest.mark.parametrize("waiting", [[], ["--wait"]])
def test_a_run_that_cannot_begin_leaves_the_record_of_the_last_one(
    waiting: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = results_of_seed_0(tmp_path)
    before = record.read_bytes()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(tmp_path, "seeds=[7]", "--cluster", "slurm", *waiting) == 1
    assert "sbatch" in capsys.readouterr().err
    assert record.read_bytes() == before
    assert main(["table", "pooling", "--json", "--results", str(tmp_path / "results")]) == 0
    assert json.loads(capsys.readouterr().out)["complete"]


@pytest.mark.parametrize("waiting", [[], ["--wait"]])
def test_the_record_is_there_as_soon_as_one_job_is(
    waiting: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A submission of which Slurm takes a part has begun; jobs that nobody finds by the sweep's name are lost."""
    record = results_of_seed_0(tmp_path)
    before = record.read_bytes()
    seen: list[bool] = []

    def submit_a_part(store: Store, wanted: slurm.WantedRun, snapshot: bool, on_event: OnEvent) -> None:
        on_event(Event("reused", wanted.stages[0]))
        seen.append(record.read_bytes() == before)
        on_event(Event("submitted", wanted.stages[1], job="41"))
        seen.append(json.loads(record.read_text())["seeds"] == [0, 7])
        raise HarnessError("no more jobs")

    monkeypatch.setattr(slurm, "run" if waiting else "submit", submit_a_part)
    assert run(tmp_path, "seeds=[0,7]", "--cluster", "slurm", *waiting) == 1
    assert seen == [True, True]
    assert "no more jobs" in capsys.readouterr().err


def test_the_record_is_there_while_a_local_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = results_of_seed_0(tmp_path)
    seen: list[list[int]] = []

    def look(*arguments: object, **options: object) -> Report:
        seen.append(json.loads(record.read_text())["seeds"])
        return Report({}, interrupted=signal.SIGINT)

    monkeypatch.setattr(local, "run", look)
    assert run(tmp_path, "seeds=[0,7]") == 3
    assert seen == [[0, 7]]


def test_data_that_cannot_be_read_leave_the_record_of_the_last_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = results_of_seed_0(tmp_path)
    before = record.read_bytes()

    def fail(*_: object) -> None:
        raise HarnessError("the data cannot be read")

    monkeypatch.setattr(running, "prepare_data", fail)
    assert run(tmp_path, "seeds=[7]") == 1
    assert "the data cannot be read" in capsys.readouterr().err
    assert record.read_bytes() == before
