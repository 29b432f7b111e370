"""What can be said of submission where there is no Slurm; with one, see tests/slurm."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_graphs import Toys

from harness.errors import HarnessError
from harness.launch import slurm
from harness.launch.job import StageJob
from harness.launch.slurm import QueueFull, Resources, _refusal
from harness.launch.squeue import QueueUnreachable
from harness.store import Store


def test_a_machine_without_slurm_is_said_before_anything_is_written(
    store: Store, toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for act in (slurm.submit, slurm.run):
        with pytest.raises(HarnessError, match="sbatch was not found") as caught:
            act(store, toys.chain(1), Resources())
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
    error = _refusal(answer)
    assert type(error) is kind
    assert "sbatch: error" not in error.message
    assert error.remedy


def test_a_job_carries_nothing_but_paths() -> None:
    import pickle

    assert len(pickle.dumps(StageJob())) < 200
    assert vars(StageJob()) == {"registry": ""}
