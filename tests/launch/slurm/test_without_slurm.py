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
from harness.launch.slurm import Resources, privacy, sbatch, snapshot, warden
from harness.launch.slurm.job import AGAIN, Endurance, Own, StageJob
from harness.launch.slurm.queue import Queue, QueueUnreachable
from harness.launch.slurm.runs import WantedRun
from harness.launch.slurm.sbatch import PICKLE, QueueFull, refusal
from harness.store import StorageFull, Store
from harness.store.batches import Batches
from tests.launch.slurm.conftest import Fake

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


def shell(folder: Path, code: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What a job's script does before its stage, in a transport's folder."""
    lines = sbatch._before(folder, WantedRun("x", [], [], 1, code=code), Resources())
    return bash([*lines, "echo loads the pickle"])


def bash(lines: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0", "SLURMD_NODENAME": "n1"}
    script = "\n".join(lines)
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)


def test_no_pickle_is_loaded_from_a_folder_that_others_may_write(store: Store, toys: Toys) -> None:
    folder = Batches(store.root).add({0: toys.stage("a")}, {}).private
    (folder / PICKLE).write_bytes(b"code")
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


def test_a_job_that_wants_to_go_on_is_put_back_whatever_srun_ends_with(fake: Fake, tmp_path: Path) -> None:
    """srun's code is the largest of all tasks; one that was killed for the others' end has 137."""
    fake("sleep", "exit 0")
    requeued = fake("scontrol", "exit 0")
    own = Own(tmp_path, "7_0")
    with pytest.raises(SystemExit) as ended:
        own.end_for_now()
    assert ended.value.code == AGAIN
    script = "\n".join(["(exit 137)", *sbatch._after(tmp_path / "run.jsonl", None, Resources())])
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "0", "SLURMD_NODENAME": "n1", "harness_job": "7_0"}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == AGAIN
    assert requeued.read_text().splitlines()[0] == "requeue 7_0"
    assert not own.path("crashes").exists()
    assert (tmp_path / "ends").read_text() == "0 n1 later\n"


def test_no_code_is_imported_from_a_folder_that_others_may_write(store: Store, toys: Toys, tmp_path: Path) -> None:
    folder = Batches(store.root).add({0: toys.stage("a")}, {}).private
    (folder / PICKLE).write_bytes(b"code")
    code = snapshot.take(tmp_path / "runs")
    assert shell(folder, code).stdout == "loads the pickle\n"
    code.chmod(0o770)
    refused = shell(folder, code)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"{code} is not private to" in refused.stderr
    with pytest.raises(HarnessError, match="is not private to you"):
        snapshot.take(tmp_path / "runs")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_no_code_is_imported_from_a_folder_that_another_user_planted(store: Store, toys: Toys, tmp_path: Path) -> None:
    folder = Batches(store.root).add({0: toys.stage("a")}, {}).private
    (folder / PICKLE).write_bytes(b"code")
    (tmp_path / "planted").mkdir(mode=0o700)
    os.chown(tmp_path / "planted", 4242, 4242)
    refused = shell(folder, tmp_path / "planted")
    assert (refused.returncode, refused.stdout) == (1, "")


def test_neither_does_the_warden(fake: Fake, tmp_path: Path) -> None:
    """Nor what goes on with a run at the end of a job."""
    fake("sbatch", f"cat > {tmp_path}/script; echo 8")
    code, python = tmp_path / "code", tmp_path / "python"
    code.mkdir(mode=0o700)
    python.write_text("#!/bin/sh\necho heals\n")
    python.chmod(0o700)
    wish = Resources(python=(str(python),), requeue=False)
    wanted = WantedRun("x", [], [wish], 1, code=code)
    warden.post(wanted, tmp_path / "run.jsonl", ["7_0"], Queue({}, {}))
    posted = (tmp_path / "script").read_text().splitlines()
    ending = ["harness_job=7_0", *privacy.DEFINITION, f"cd {tmp_path}", "false", *sbatch._after(Path("r"), code, wish)]
    for lines in (posted, ending):
        code.chmod(0o700)
        assert "heals" in bash(lines).stdout
        code.chmod(0o755)
        refused = bash(lines)
        assert "heals" not in refused.stdout
        assert f"{code} is not private to" in refused.stderr


@pytest.mark.parametrize("left", [None, b"", b"code"])
def test_a_pickle_that_a_full_disk_cut_short_is_copied_again(store: Store, toys: Toys, left: bytes | None) -> None:
    folder = Batches(store.root).add({0: toys.stage("a")}, {}).private
    (folder / PICKLE).write_bytes(b"code")
    own = folder / "7_0_submitted.pkl"
    if left is not None:
        own.write_bytes(left)
    assert shell(folder).returncode == 0
    assert own.read_bytes() == b"code"
    own.unlink()
    (folder / PICKLE).unlink()
    assert shell(folder).returncode == 1, "what cannot be copied is not computed"
    assert not own.exists()


@pytest.mark.parametrize(("code", "countable"), [(1, True), (1, False), (0, False)])
def test_a_job_whose_ends_cannot_be_counted_is_not_started_again(
    fake: Fake, tmp_path: Path, code: int, countable: bool
) -> None:
    calls = fake("scontrol", "exit 1")
    fake("sleep", "")
    (tmp_path / "7_0.ended").write_bytes(b"")  # as far as a full disk took it
    if not countable:
        (tmp_path / "7_0.crashes").mkdir()
    ending = sbatch._after(Path("r"), None, Resources(python=("true",)))
    done = bash([f"cd {tmp_path}", "harness_job=7_0", "harness_watchman=", f"(exit {code})", *ending])
    assert calls.exists() is countable
    assert done.returncode == code
    assert ("cannot be counted" in done.stderr) is not countable


@pytest.mark.parametrize(("code", "most"), [(1, sbatch.MAX_CRASHES), (AGAIN, sbatch.MAX_WISHES)])
def test_a_job_that_never_gets_on_is_not_started_for_ever(fake: Fake, tmp_path: Path, code: int, most: int) -> None:
    """Nor one that runs out of time again and again before its first checkpoint."""
    calls = fake("scontrol", "exit 0")
    fake("sleep", "")
    ending = sbatch._after(Path("r"), None, Resources(python=("true",)))
    script = [f"cd {tmp_path}", "harness_job=7_0", "harness_watchman=", f"(exit {code})", *ending]
    for _ in range(most + 3):
        bash(script)
    assert calls.read_text().count("requeue") == most
    for step in (1, 9):  # it has got on
        Endurance(Own(tmp_path, "7_0")).hear({"step": step})
    bash(script)
    assert calls.read_text().count("requeue") == most + 1


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
    assert WantedRun.cancel(store, "sweep", set()) == 0
    assert not run.exists()
