"""What is submitted, cancelled and gone on with, on a Slurm that starts nothing (``fake_slurm``)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy_graphs import Toys

from harness.errors import HarnessError
from harness.launch import slurm
from harness.launch.slurm import Resources
from harness.launch.slurm.sbatch import QueueFull
from harness.store import Stage, Store
from harness.store.batches import Batches
from tests.launch.slurm.fake_slurm import FakeSlurm

WISH = Resources(time_minutes=5)


def record(store: Store) -> Path:
    return Batches(store.root).run_file("sweep")


def belongs_to(store: Store, user: str) -> None:
    """Lets all arrays be another user's."""
    for path in (store.root / "batches").glob("*/batch.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "user": user}))


def wide(toys: Toys, number: int) -> list[Stage]:
    return [toys.stage(f"stage{each}") for each in range(number)]


# --- a limit of jobs


def test_a_submission_ends_where_an_array_cannot_get_one_task_in(
    fake_slurm: FakeSlurm, store: Store, toys: Toys
) -> None:
    """Another array would be halved for nothing, minutes a try, while nobody can submit or cancel."""
    stages = wide(toys, 20)
    wishes = [Resources(time_minutes=5 + number // 4) for number in range(20)]  # five arrays of four
    fake_slurm.limit(5)
    found = slurm.submit(store, toys.wanted(stages, wishes))
    assert found.full is not None
    asked = [call for call in fake_slurm.calls("sbatch") if call.endswith(".sh")]
    assert len(asked) == 1 + 3 + 3, "all of the first; four, two, one of the next, and of the third; no more"


# --- answers of sbatch


@pytest.mark.parametrize("words", ["Message receive failure", "Some words that nobody has thought of"])
def test_the_folder_of_a_job_that_may_be_in_the_queue_stays(
    fake_slurm: FakeSlurm, store: Store, toys: Toys, words: str
) -> None:
    fake_slurm.answer("sbatch", f"sbatch: error: Batch job submission failed: {words}", kind="lost")
    stages = wide(toys, 2)
    try:
        found = slurm.submit(store, toys.wanted(stages, WISH))
        assert len(found.submitted) == 2
    except HarnessError:
        assert "nobody" in words
    fake_slurm.answer("sbatch", kind="lost")
    again = slurm.submit(store, toys.wanted(stages, WISH))
    assert len(again.alive) == 2
    assert list(fake_slurm.jobs().values()) == ["PENDING"] * 2


def test_the_folder_of_a_refused_job_goes(fake_slurm: FakeSlurm, store: Store, toys: Toys) -> None:
    fake_slurm.answer("sbatch", "sbatch: error: invalid partition specified: nonsense")
    with pytest.raises(HarnessError, match="invalid partition"):
        slurm.submit(store, toys.wanted(wide(toys, 2), WISH))
    assert not list(Batches(store.root))


def test_a_full_queue_that_takes_nothing_is_said(fake_slurm: FakeSlurm, store: Store, toys: Toys) -> None:
    fake_slurm.limit(0)
    with pytest.raises(QueueFull):
        slurm.submit(store, toys.wanted(wide(toys, 2), WISH))
