"""The doctor's job where Slurm is a few scripts; with a real one, see tests/slurm/test_doctor.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.launch.slurm import probe as probing
from harness.launch.slurm import small
from harness.launch.slurm.probe import probe
from harness.launch.slurm.resources import Resources
from tests.launch.slurm.conftest import Fake


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "POLL_SECONDS", 0.05)


def test_a_job_that_has_begun_at_the_deadline_is_waited_for(fake: Fake, tmp_path: Path) -> None:
    fake("scancel", "")
    fake("squeue", "echo RUNNING")
    fake("sbatch", f"cat > {tmp_path}/script; (sleep 1; bash {tmp_path}/script) > /dev/null 2>&1 & echo 7")
    first, *rest = probe(tmp_path / "results", Resources(python=(sys.executable,)), 0.2)
    assert (first.state, first.found.startswith("ran on")) == ("ok", True)
    assert {check.state for check in rest} == {"ok"}


@pytest.mark.parametrize(("state", "words"), [("RUNNING", "is running"), ("CONFIGURING", "has not begun within")])
def test_one_of_which_nothing_is_heard_says_nothing_of_the_folder(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, words: str
) -> None:
    monkeypatch.setattr(probing, "LAST_SECONDS", 0.3)
    fake("sbatch", "echo 7")
    calls = fake("squeue", f"echo {state}")
    fake("scancel", "")
    (check,) = probe(tmp_path / "results", Resources(), 0.1)
    assert check.state == "note"
    assert words in check.found
    assert "--quiet 7" in calls.read_text(), "it is cancelled"


def test_small_jobs_ask_as_the_profile_says(fake: Fake, tmp_path: Path) -> None:
    fake("sbatch", "")
    wish = Resources(partition="p", memory_gb=64.0, cpus=8, gpus=2, exclude=("n1",), options=(("contiguous", True),))
    for each in (wish, Resources(memory_gb=0.5, options=(("exclusive", False), ("nice", 5)))):
        small.submit(["true"], each, {"time": "5"})
    first, second = (tmp_path / "calls").read_text().splitlines()
    assert (
        first == "--parsable --ntasks=1 --cpus-per-task=1 --mem=2048M --partition=p --exclude=n1 --contiguous --time=5"
    )
    assert second == "--parsable --ntasks=1 --cpus-per-task=1 --mem=512M --nice=5 --time=5"
