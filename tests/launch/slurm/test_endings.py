from __future__ import annotations

import pytest

from harness.launch.slurm import endings, queue
from harness.launch.slurm.endings import recall
from harness.launch.slurm.queue import Job, Queue
from harness.launch.slurm.sbatch import job_log
from harness.store import Stage
from harness.store.batches import Batch, Batches
from tests.launch.slurm.conftest import Fake

ACCOUNTED = "echo 'AccountingStorageType   = accounting_storage/slurmdbd'"
NONE = "echo 'AccountingStorageType   = accounting_storage/none'"
NOTHING = Queue({}, {})


def given(batches: Batches, job: str, names: str) -> tuple[Batch, list[str]]:
    """An array that Slurm took, and the ids of its stages."""
    stages = [Stage("train", 1, {"name": name}) for name in names]
    return batches.accepted(batches.add(dict(enumerate(stages)), {}), job), [stage.id for stage in stages]


def words(found: Queue, ids: list[str]) -> list[str]:
    return [", ".join(map(str, found.jobs(stage_id))) for stage_id in ids]


def test_what_the_queue_has_forgotten_is_asked_for_in_one_call(fake: Fake, batches: Batches) -> None:
    first, ids = given(batches, "7", "abcdef")
    second, more = given(batches, "9", "g")
    name, other = (queue.array_name("x", batch) for batch in (first, second))
    calls = fake("scontrol", ACCOUNTED)
    fake(
        "sacct",
        f"""cat <<'EOF'
7_0|{name}|OUT_OF_MEMORY|0:125|n3|None
7_1|{name}|CANCELLED by 1000|0:0|n1|None
7_2|{name}|FAILED|7:0|n2|None
7_3|{name}|RUNNING|0:0|n2|None
7_4|harness-of-an-earlier-job-with-this-id-0123456789ab|FAILED|1:0|n2|None
9_0|{other}|NODE_FAIL|0:0|n4|None
nonsense
EOF""",
    )
    seen = Job("7_5", name, "TIMEOUT", "TimeLimit", "n1")
    found = recall(Queue({ids[5]: [seen]}, {}), batches, {*ids, *more})
    assert words(found, [*ids, *more]) == [
        "job 7_0 out of memory on n3",
        "job 7_1 cancelled on n1 (by user 1000)",
        "job 7_2 failed on n2 (exit code 7)",
        "",
        "",
        "job 7_5 timeout on n1 (TimeLimit)",
        "job 9_0 node fail on n4",
    ]
    asked = [line for line in calls.read_text().splitlines() if "--jobs" in line]
    assert len(asked) == 1
    assert "--jobs=7,9" in asked[0]


def test_nothing_is_asked_while_the_queue_knows_or_without_accounting(fake: Fake, batches: Batches) -> None:
    batch, ids = given(batches, "7", "a")
    calls = fake("sacct", "exit 1")
    fake("scontrol", NONE)
    known = Queue({ids[0]: [Job("7_0", queue.array_name("x", batch), "FAILED", "", "n1")]}, {})
    assert recall(known, batches, set(ids)) is known
    assert not calls.exists()
    assert words(recall(NOTHING, batches, set(ids)), ids) == [""]
    assert "--jobs" not in calls.read_text()


@pytest.mark.parametrize("answer", ["echo 'Connection refused' >&2; exit 1", "exec sleep 60"])
def test_accounting_that_fails_or_is_slow_is_left_alone(
    fake: Fake, batches: Batches, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    _, ids = given(batches, "7", "a")
    monkeypatch.setattr(endings, "TIMEOUT_SECONDS", 0.5)
    calls = fake("scontrol", ACCOUNTED)
    fake("sacct", answer)
    for _ in range(3):
        assert words(recall(NOTHING, batches, set(ids)), ids) == [""]
    assert calls.read_text().count("--jobs") == 1


@pytest.mark.parametrize(
    ("mark", "words_"),
    [
        (" DUE TO TIME LIMIT", "job 7_0 timeout on n2 (by its log)"),
        (" DUE TO PREEMPTION", "job 7_0 preempted on n2 (by its log)"),
        ("", "job 7_0 cancelled on n2 (by its log)"),
        (" DUE TO JOB REQUEUE", ""),
    ],
)
def test_without_accounting_the_log_of_the_job_tells(fake: Fake, batches: Batches, mark: str, words_: str) -> None:
    fake("scontrol", NONE)
    batch, ids = given(batches, "7", "a")
    log = f"step 12\nslurmstepd-n2: error: *** JOB 7 ON n2 CANCELLED AT 2026-11-23T06:44:24{mark} ***\n"
    job_log(batch, "7_0").write_text(log)
    assert words(recall(NOTHING, batches, set(ids)), ids) == [words_]
