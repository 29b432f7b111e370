from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.launch import squeue
from harness.launch.squeue import Job, QueueUnreachable, job_name
from harness.store import Stage, Store

Fake = Callable[[str, str], Path]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a shell script in the place of one of Slurm's commands; it notes its arguments and environment."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/bin{os.pathsep}/usr/bin")

    def make(command: str, body: str) -> Path:
        path = folder / command
        path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nenv > {tmp_path}/environment\n{body}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return tmp_path / "calls"

    return make


def test_states_are_read_the_latest_living_job_first(fake: Fake) -> None:
    fake(
        "squeue",
        """cat <<'EOF'
7|FAILED|n1|harness-a|NonZeroExitCode
12|COMPLETED|n2|harness-b|None
9|PENDING||harness-a|Dependency
11|NODE_FAIL|n1|harness-a|None
5|RUNNING|n3|other job|with|bars|None
nonsense
EOF""",
    )
    jobs = squeue.jobs_by_name()
    assert [job.id for job in jobs["harness-a"]] == ["9", "11", "7"]
    assert jobs["harness-a"][0] == Job("9", "harness-a", "PENDING", "Dependency", "")
    assert not jobs["harness-b"][0].is_alive


@pytest.mark.parametrize(
    "state", ["PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "INVENTED"]
)
def test_a_state_that_is_not_known_to_be_an_end_is_life(state: str) -> None:
    assert Job("1", "", state, "", "").is_alive


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "CANCELLED"])
def test_ends_are_ends(state: str) -> None:
    assert not Job("1", "", state, "", "").is_alive


def test_stuck_jobs_are_told_from_waiting_ones() -> None:
    assert Job("1", "", "PENDING", "DependencyNeverSatisfied", "").is_stuck
    assert Job("1", "", "PENDING", "launch failed requeued held", "").is_stuck
    assert not Job("1", "", "PENDING", "Dependency", "").is_stuck
    assert not Job("1", "", "RUNNING", "DependencyNeverSatisfied", "").is_stuck


def test_a_silent_controller_is_no_empty_queue(fake: Fake) -> None:
    fake("squeue", "echo 'slurm_load_jobs error: Socket timed out' >&2; exit 1")
    with pytest.raises(QueueUnreachable, match="Socket timed out"):
        squeue.jobs_by_name()


def test_no_slurm_is_said_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for act in (squeue.jobs_by_name, lambda: squeue.cancel(["1"]), lambda: squeue.require("sbatch")):
        with pytest.raises(HarnessError, match="was not found") as caught:
            act()
        assert "login node" in caught.value.remedy


def test_filters_and_a_surrounding_job_do_not_reach_the_commands(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake("squeue", "exit 0")
    for name in ("SQUEUE_STATES", "SLURM_JOB_ID", "SLURM_CONF", "SBATCH_ACCOUNT"):
        monkeypatch.setenv(name, "x")
    squeue.jobs_by_name()
    environment = (tmp_path / "environment").read_text().splitlines()
    assert "SLURM_CONF=x" in environment
    assert "SBATCH_ACCOUNT=x" in environment
    assert not [line for line in environment if line.startswith(("SQUEUE_STATES", "SLURM_JOB_ID"))]


def test_many_jobs_are_cancelled_in_few_calls(fake: Fake) -> None:
    calls = fake("scancel", "exit 0")
    squeue.cancel(str(number) for number in range(1200))
    lines = calls.read_text().splitlines()
    assert len(lines) == 3
    assert sum(len(line.split()) for line in lines) == 1200 + 3
    squeue.cancel([])
    assert len(calls.read_text().splitlines()) == 3


def test_names_tell_stores_apart(tmp_path: Path) -> None:
    stage = Stage("train", 1, {})
    (tmp_path / "link").symlink_to(tmp_path)
    names = {job_name(Store(tmp_path / folder), stage) for folder in ("a", "b", "link/a")}
    assert len(names) == 2
    assert all(stage.id in name for name in names)
