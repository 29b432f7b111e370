from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.launch.slurm import queue
from harness.launch.slurm.queue import Job, Queue, QueueUnreachable
from harness.store import Stage
from harness.store.batches import Batch, Batches
from tests.launch.slurm.conftest import Fake


def batch_of(batches: Batches, *names: str) -> tuple[Batch, list[str]]:
    """A batch of new stages, and their ids."""
    stages = [Stage("train", 1, {"name": name}) for name in names]
    return batches.add(dict(enumerate(stages)), {}), [stage.id for stage in stages]


def test_states_are_read_the_latest_living_job_first(fake: Fake, batches: Batches) -> None:
    first, (a, b, c) = batch_of(batches, "a", "b", "c")
    again, _ = batch_of(batches, "a")
    names = [queue.array_name("pooling of tokens!", each) for each in (first, again)]
    assert names[0] == f"harness-pooling-of-tokens--{first.key}"
    fake(
        "squeue",
        f"""cat <<'EOF'
7_0|FAILED|n1|{names[0]}|NonZeroExitCode
7_1|COMPLETED|n2|{names[0]}|None
9_0|PENDING||{names[1]}|Dependency
5_0|RUNNING|n3|other job|with|bars|None
6_0|RUNNING|n3|harness-of-another-store-0123456789ab|None
nonsense
EOF""",
    )
    found = Queue.ask(batches)
    assert [job.id for job in found.jobs(a)] == ["9_0", "7_0"]
    assert found.living(a) == Job("9_0", names[1], "PENDING", "Dependency", "", getpass.getuser())
    assert not found.jobs(b)[0].is_alive
    assert found.living(b) is None
    assert found.jobs(c) == ()
    assert found.arrays == {first.key: ["7"], again.key: ["9"]}


def test_tasks_that_ended_before_they_began_are_told_by_their_array(fake: Fake, batches: Batches) -> None:
    """Slurm shows one line without a number for all tasks that were cancelled together."""
    batch, (a, b) = batch_of(batches, "a", "b")
    name = queue.array_name("x", batch)
    fake("squeue", f"echo '7|CANCELLED||{name}|None'; echo '7_1|RUNNING|n1|{name}|None'")
    found = Queue.ask(batches)
    assert [(job.id, job.state) for job in found.jobs(a)] == [("7_0", "CANCELLED")]
    assert [(job.id, job.state) for job in found.jobs(b)] == [("7_1", "RUNNING")]


def test_all_who_gave_batches_are_asked_for(fake: Fake, batches: Batches) -> None:
    calls = fake("squeue", "exit 0")
    batch, _ = batch_of(batches, "a")
    for user in ("daemon", "nobody-that-this-machine-knows"):
        other, _ = batch_of(batches, user)
        text = (other.folder / "batch.json").read_text()
        (other.folder / "batch.json").write_text(text.replace(f'"{batch.user}"', f'"{user}"'))
    Queue.ask(Batches(batch.folder.parents[1]))
    (user,) = [word for word in calls.read_text().split() if word.startswith("--user=")]
    assert user == f"--user={','.join(sorted({'daemon', getpass.getuser()}))}"


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


def test_a_silent_controller_is_no_empty_queue(fake: Fake, batches: Batches) -> None:
    fake("squeue", "echo 'slurm_load_jobs error: Socket timed out' >&2; exit 1")
    with pytest.raises(QueueUnreachable, match="Socket timed out"):
        Queue.ask(batches)


def test_no_slurm_is_said_with_a_remedy(tmp_path: Path, batches: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for act in (lambda: Queue.ask(batches), lambda: queue.cancel(["1_0"]), lambda: queue.require("sbatch")):
        with pytest.raises(HarnessError, match="was not found") as caught:
            act()
        assert "login node" in caught.value.remedy


def test_filters_and_a_surrounding_job_do_not_reach_the_commands(
    fake: Fake, batches: Batches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake("squeue", "exit 0")
    for name in ("SQUEUE_STATES", "SLURM_JOB_ID", "SLURM_CONF", "SBATCH_ACCOUNT"):
        monkeypatch.setenv(name, "x")
    Queue.ask(batches)
    environment = (tmp_path / "environment").read_text().splitlines()
    assert "SLURM_CONF=x" in environment
    assert "SBATCH_ACCOUNT=x" in environment
    assert not [line for line in environment if line.startswith(("SQUEUE_STATES", "SLURM_JOB_ID"))]


def test_many_jobs_are_cancelled_in_few_calls(fake: Fake) -> None:
    calls = fake("scancel", "exit 0")
    queue.cancel(f"{array}_{number}" for array in range(1200) for number in (0, 1, 2, 5))
    lines = calls.read_text().splitlines()
    assert len(lines) == 3
    assert lines[0].split()[:2] == ["--quiet", "0_[0-2,5]"]
    assert sum(len(line.split()) for line in lines) == 1200 + 3
    queue.cancel([])
    assert len(calls.read_text().splitlines()) == 3


def test_jobs_that_are_not_ones_own_to_cancel_are_no_error(fake: Fake) -> None:
    fake("scancel", "echo 'scancel: error: Kill job error on job id 7: Access/permission denied' >&2; exit 1")
    queue.cancel(["7_0"])
    fake("scancel", "echo 'scancel: error: Socket timed out' >&2; exit 1")
    with pytest.raises(QueueUnreachable):
        queue.cancel(["7_0"])
