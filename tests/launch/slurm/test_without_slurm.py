"""What can be said of submission where there is no Slurm; with one, see tests/slurm."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_graphs import Toys

from harness.errors import HarnessError
from harness.launch import slurm
from harness.launch.slurm import Resources
from harness.launch.slurm.job import Endurance, Own, StageJob
from harness.launch.slurm.queue import QueueUnreachable
from harness.launch.slurm.sbatch import QueueFull, refusal
from harness.store import Store


def test_a_machine_without_slurm_is_said_before_anything_is_written(
    store: Store, toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for act in (slurm.submit, slurm.run):
        with pytest.raises(HarnessError, match="sbatch was not found") as caught:
            act(store, toys.chain(1), lambda stage: Resources())
        assert caught.value.remedy
    assert not store.root.exists()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", QueueUnreachable),
        ("sbatch: error: Unable to contact slurm controller (connect failure)", QueueUnreachable),
        ("sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates", QueueFull),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit", QueueFull),
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
