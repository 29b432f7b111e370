"""What can be said of submission where there is no Slurm; with one, see tests/slurm."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest
from toy_graphs import Toys

from harness.errors import HarnessError
from harness.launch import slurm
from harness.launch.slurm import Resources, sbatch
from harness.launch.slurm.job import Endurance, Own, StageJob
from harness.launch.slurm.queue import QueueUnreachable
from harness.launch.slurm.runs import WantedRun
from harness.launch.slurm.sbatch import PICKLE, QueueFull, refusal
from harness.store import StorageFull, Store
from harness.store.batches import Batches

POLICY = (
    "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user size and/or time limits)"
)


def test_a_machine_without_slurm_is_said_before_anything_is_written(
    store: Store, toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for act in (slurm.submit, slurm.run):
        with pytest.raises(HarnessError, match="sbatch was not found") as caught:
            act(store, toys.wanted(toys.chain(1), Resources()), snapshot=True)
        assert caught.value.remedy
    assert not store.root.exists()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", QueueUnreachable),
        ("sbatch: error: Unable to contact slurm controller (connect failure)", QueueUnreachable),
        ("sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates", QueueFull),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit", QueueFull),
        (f"sbatch: error: QOSGrpSubmitJobsLimit\nsbatch: error: {POLICY}", QueueFull),
        (f"sbatch: error: {POLICY}", QueueFull),
        (f"sbatch: error: QOSMaxWallDurationPerJobLimit\nsbatch: error: {POLICY}", HarnessError),
        ("sbatch: error: Batch job submission failed: Resource temporarily unavailable", QueueFull),
        ("sbatch: error: Batch job submission failed: Invalid job array specification", QueueFull),
        ("sbatch: error: invalid partition specified: nonsense", HarnessError),
    ],
)
def test_refusals_are_told_apart(answer: str, kind: type[HarnessError]) -> None:
    error = refusal(answer)
    assert type(error) is kind
    assert "sbatch: error" not in error.message
    assert error.remedy


def test_a_job_carries_nothing_but_paths() -> None:
    import pickle

    assert len(pickle.dumps(StageJob())) < 200
    assert vars(StageJob()) == {"registry": "", "limited": ""}


def test_crashes_are_forgiven_where_a_job_resumes_further_on(tmp_path: Path) -> None:
    own = Own(tmp_path, "7_0")
    crashes = own.path("crashes")

    def attempt(*steps: int) -> None:
        endurance = Endurance(own)
        for step in steps:
            endurance.hear({"step": step})

    crashes.write_text("once\n")
    attempt(1, 2, 3)
    assert crashes.exists(), "nothing to compare with yet"
    attempt(1, 2, 3, 4)
    assert crashes.exists(), "the steps between were lost"
    attempt(3)
    assert not crashes.exists()


def shell(folder: Path) -> subprocess.CompletedProcess[str]:
    """What a job's script does before its stage, in a transport's folder."""
    lines = sbatch._before(folder, WantedRun("x", [], [], 1), Resources())
    script = "\n".join([*lines, "echo loads the pickle"])
    environment = {**os.environ, "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"}
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)


def test_no_pickle_is_loaded_from_a_folder_that_others_may_write(store: Store, toys: Toys) -> None:
    folder = Batches(store.root).add({0: toys.stage("a")}, {}).private
    (folder / PICKLE).write_bytes(b"")
    assert shell(folder).stdout == "loads the pickle\n"
    folder.chmod(0o2700)  # where the folder above passes its group on
    assert shell(folder).stdout == "loads the pickle\n"
    for mode in (0o770, 0o755, 0o701):
        folder.chmod(mode)
        refused = shell(folder)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "is not private to" in refused.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_no_pickle_is_loaded_from_a_folder_that_another_user_planted(store: Store, toys: Toys) -> None:
    folder = Batches(store.root).add({0: toys.stage("a")}, {}).private
    (folder / PICKLE).write_bytes(b"")
    os.chown(folder, 4242, 4242)
    refused = shell(folder)
    assert (refused.returncode, refused.stdout) == (1, "")


@pytest.mark.parametrize(
    "wish", [Resources(account="a\ntouch evil"), Resources(options=(("constraint", "a\ntouch evil"),))]
)
def test_no_option_goes_on_as_a_line_of_the_script(store: Store, toys: Toys, wish: Resources) -> None:
    """Whatever a spec refuses: wishes are read from the records of runs too."""
    batch = Batches(store.root).add({0: toys.stage("a")}, {})
    with pytest.raises(HarnessError, match="is not one line of text"):
        sbatch.sbatch(batch, WantedRun("x", [], [], 1), store.root / "run.jsonl", wish)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_while_the_pickle_is_written_is_said_clearly(
    store: Store, toys: Toys, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    from submitit.core.utils import DelayedSubmission

    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(DelayedSubmission, "dump", full)
    batch = Batches(store.root).add({0: toys.stage("a")}, {})
    with pytest.raises(StorageFull, match="is full"):
        sbatch.sbatch(batch, WantedRun("x", [], [], 1), store.root / "run.jsonl", Resources())


def test_a_store_of_a_newer_version_is_refused(store: Store, toys: Toys) -> None:
    """Its results are not taken for missing, nor computed anew over it."""
    stage = toys.stage("a")
    store.open(stage).finish()
    for name in ("done.json", "stage.json"):
        path = store.path(stage) / name
        before = path.read_text()
        path.write_text(json.dumps({**json.loads(before), "format": 99}))
        with pytest.raises(HarnessError, match="written in format 99") as caught:
            Store(store.root).is_done(stage)
        assert "Update the harness" in caught.value.remedy
        path.write_text(before)
    assert Store(store.root).is_done(stage)


def test_what_an_older_or_newer_version_left_of_batches_and_runs_is_no_obstacle(store: Store, toys: Toys) -> None:
    batches = Batches(store.root)
    kept = batches.accepted(batches.add({0: toys.stage("a")}, {}), "7")
    strange = {"0" * 12: "{}", "1" * 12: '{"jobs": ["8_0"]}', "2" * 12: "[]"}
    for key, text in strange.items():
        (store.root / "batches" / key).mkdir()
        (store.root / "batches" / key / "batch.json").write_text(text)
    content = json.loads((kept.folder / "batch.json").read_text())
    (kept.folder / "batch.json").write_text(json.dumps({**content, "colour": "red"}))
    assert [batch.key for batch in Batches(store.root)] == [kept.key]
    run = batches.run_file("sweep")
    run.parent.mkdir(parents=True)
    run.write_text('{"title": "sweep", "wishes": [{"colour": "red"}]}\n')
    assert WantedRun.forget(store, "sweep", set()) == 0
    assert not run.exists()
