from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from harness.launch.slurm import nodes
from harness.launch.slurm.nodes import DIED, ENDS, FAILED, FINISHED, LATER, avoiding, suspects
from harness.launch.slurm.queue import Job, Queue
from harness.launch.slurm.resources import Resources
from harness.store import Stage
from harness.store.batches import Batches
from tests.launch.slurm.conftest import Fake

NOTHING = Queue({}, {})
STAGES = [Stage("train", 1, {"name": name}) for name in "abcd"]
IDS = {stage.id for stage in STAGES}


def note(batches: Batches, *ends: tuple[int, str, str]) -> None:
    batch = batches.accepted(batches.add(dict(enumerate(STAGES)), {}), "7")
    (batch.private / ENDS).write_text("".join(f"{task} {node} {how}\n" for task, node, how in ends))


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([(0, "n2", DIED), (1, "n2", DIED)], {"n2": 2}),
        ([(0, "n2", DIED), (0, "n2", DIED)], {}),  # the same stage twice
        ([(0, "n2", DIED), (1, "n2", DIED), (2, "n2", FINISHED)], {}),
        ([(0, "n2", DIED), (1, "n2", DIED), (1, "n2", FINISHED)], {}),
        ([(0, "n2", DIED), (1, "n2", DIED), (0, "n1", DIED)], {}),  # the stage dies everywhere
        ([(0, "n2", DIED), (1, "n2", DIED), (0, "n1", FINISHED)], {"n2": 2}),
        ([(0, "n2", FAILED), (1, "n2", LATER)], {}),  # errors of its own, preemption, want of memory
        ([(0, "n3", DIED), (1, "n3", DIED), *((n, "n2", DIED) for n in (1, 2, 3))], {"n2": 2}),
        ([(9, "n2", DIED), (8, "n2", DIED)], {}),  # no tasks of ours
    ],
)
def test_nodes_on_which_stages_keep_dying_are_suspected(
    batches: Batches, ends: list[tuple[int, str, str]], expected: dict[str, int]
) -> None:
    note(batches, *ends)
    assert suspects(batches, NOTHING, IDS) == expected
    assert suspects(batches, NOTHING, {"0" * 16}) == {}, "of another run"


def test_jobs_that_died_with_their_script_count_too(batches: Batches) -> None:
    note(batches, (0, "n2", DIED), (2, "n2", FAILED))
    jobs = {STAGES[1].id: [Job("7_1", "", "NODE_FAIL", "", "n2")], STAGES[2].id: [Job("7_2", "", "FAILED", "", "n2")]}
    assert suspects(batches, Queue(jobs, {}), IDS) == {"n2": 2}
    jobs[STAGES[1].id] = [Job("7_1", "", "CANCELLED", "", "n2")]
    assert suspects(batches, Queue(jobs, {}), IDS) == {}


def test_a_day_later_it_is_forgotten(batches: Batches) -> None:
    note(batches, (0, "n2", DIED), (1, "n2", DIED))
    (batch,) = batches
    record = batch.folder / "batch.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps({**content, "created": (datetime.now(UTC) - timedelta(hours=25)).isoformat()}))
    assert suspects(Batches(batch.folder.parents[1]), NOTHING, IDS) == {}


def test_half_of_a_partition_stays_and_the_users_own_list_too() -> None:
    partition = ["n1", "n2", "n3", "n4", "n5"]
    found = avoiding(Resources(exclude=("n5", "gone")), {"other": 9, "n1": 4, "n2": 3, "n3": 2}, partition)
    assert found.exclude == ("n5", "gone", "n1")
    assert avoiding(Resources(), {"n1": 4}, ["n1"]).exclude == ()
    assert avoiding(Resources(), {"n1": 4}, []).exclude == ()


def test_a_partition_is_known_by_its_name_or_as_the_default(fake: Fake) -> None:
    fake("sinfo", "printf 'n1 toys*\\nn2 toys*\\nn1 urgent\\nn9 urgent\\n'")
    assert nodes.of_partition(None) == ["n1", "n2"]
    assert nodes.of_partition("toys") == ["n1", "n2"]
    assert nodes.of_partition("urgent") == ["n1", "n9"]
    fake("sinfo", "exit 1")
    assert nodes.of_partition(None) == []
