"""What is submitted, cancelled and gone on with, on a Slurm that starts nothing (``fake_slurm``)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_graphs import Toys

from harness.errors import HarnessError
from harness.launch import slurm
from harness.launch.events import Event, Report
from harness.launch.slurm import Resources, healing
from harness.launch.slurm.healing import heal
from harness.launch.slurm.job import AGAIN
from harness.launch.slurm.sbatch import QueueFull
from harness.launch.slurm.submission import CANCELLED, Submitter
from harness.launch.slurm.supervision import Supervisor
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


def test_the_warden_has_a_place_where_jobs_are_limited(fake_slurm: FakeSlurm, store: Store, toys: Toys) -> None:
    fake_slurm.limit(4)
    found = slurm.submit(store, toys.wanted(wide(toys, 8), WISH))
    assert not found.unwatched
    assert found.full is not None
    assert len(found.submitted) == 3
    assert Counter(fake_slurm.jobs().values()) == {"PENDING": 3, "CANCELLED": 1}
    assert list(fake_slurm.jobs(warden=True).values()) == ["PENDING"]


def test_a_warden_that_waits_already_is_enough(fake_slurm: FakeSlurm, store: Store, toys: Toys) -> None:
    stages = wide(toys, 4)
    slurm.submit(store, toys.wanted(stages[:2], WISH))
    fake_slurm.limit(5)
    found = slurm.submit(store, toys.wanted(stages, WISH))
    assert len(found.submitted) == 2
    assert not found.unwatched


def test_jobs_without_a_warden_get_one(fake_slurm: FakeSlurm, store: Store, toys: Toys) -> None:
    """As after a controller that fell silent in the middle."""
    stages = wide(toys, 2)
    slurm.submit(store, toys.wanted(stages, WISH))
    fake_slurm.change(lambda job: job.__setitem__(1, "COMPLETED") if "warden" in job[3] else None)
    slurm.submit(store, toys.wanted(stages, WISH))
    assert sorted(fake_slurm.jobs(warden=True).values()) == ["COMPLETED", "PENDING"]


# --- the warden


def lose(job: list[str]) -> None:
    """As when a node takes the job with its script; the warden's own turn has come."""
    job[1] = "RUNNING" if "warden" in job[3] else "NODE_FAIL"


def test_a_warden_that_finds_the_queue_full_wants_another_look(
    fake_slurm: FakeSlurm, store: Store, toys: Toys, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.submit(store, toys.wanted(wide(toys, 2), WISH))
    fake_slurm.change(lose)
    fake_slurm.limit(0)
    assert healing.main([str(record(store))]) == AGAIN
    assert "takes no more jobs" in capsys.readouterr().out
    fake_slurm.limit(1)  # a job, and none for the next warden
    assert healing.main([str(record(store))]) == AGAIN
    assert "no warden looks after them" in capsys.readouterr().out
    fake_slurm.change(lose)
    fake_slurm.limit(None)
    assert healing.main([str(record(store))]) == 0
    assert list(fake_slurm.jobs(warden=True).values())[-1] == "PENDING"


def test_a_warden_waits_for_a_silent_controller(
    fake_slurm: FakeSlurm, store: Store, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.submit(store, toys.wanted(wide(toys, 2), WISH))
    fake_slurm.change(lose)
    fake_slurm.answer("squeue", "slurm_load_jobs error: Socket timed out")
    monkeypatch.setattr(healing, "PATIENCE_SECONDS", 0.0)
    assert healing.main([str(record(store))]) == AGAIN
    monkeypatch.setattr(healing, "PATIENCE_SECONDS", 60.0)
    monkeypatch.setattr(healing.time, "sleep", lambda seconds: fake_slurm.answer("squeue"))
    assert healing.main([str(record(store))]) == 0
    assert Counter(fake_slurm.jobs().values())["PENDING"] == 2


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


# --- cancelling


def test_what_was_cancelled_stays_cancelled_until_the_user_wants_it(
    fake_slurm: FakeSlurm, store: Store, toys: Toys
) -> None:
    stages = [*toys.chain(2, "a"), *toys.chain(2, "b")]
    wanted = toys.wanted(stages, WISH)
    driver = Submitter(store, wanted)
    driver.submit({})
    assert len(slurm.cancel(store, stages[:2]).jobs) == 2
    for found in (driver.submit({}), heal(record(store))):
        assert not found.submitted
        assert found.blocked == {stage.id: CANCELLED for stage in stages[:2]}
        assert found.alive.keys() == {stage.id for stage in stages[2:]}
    assert "PENDING" in fake_slurm.jobs(warden=True).values()
    slurm.cancel(store, stages)
    assert "PENDING" not in fake_slurm.jobs(warden=True).values()
    assert not heal(record(store)).jobs

    assert slurm.retry(store, "sweep", {stages[0].id}).submitted.keys() == {stage.id for stage in stages[:2]}
    assert slurm.submit(store, wanted).submitted.keys() == {stage.id for stage in stages[2:]}


def test_a_heal_that_had_begun_does_not_undo_a_cancel(
    fake_slurm: FakeSlurm, store: Store, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = wide(toys, 2)
    slurm.submit(store, toys.wanted(stages, WISH))
    monkeypatch.setattr(healing, "has_failed", lambda *_: bool(slurm.cancel(store, stages[:1]).jobs) and False)
    assert heal(record(store)).blocked == {stages[0].id: CANCELLED}


class Patience:
    """Acts between the looks of a driver, and ends it."""

    def __init__(self, *acts: Callable[[], object]) -> None:
        self.number = 0
        self._acts = list(acts)

    def sleep(self, seconds: float) -> None:
        if self._acts:
            self._acts.pop(0)()
        else:
            self.number = 2


def drive(store: Store, toys: Toys, stages: list[Stage], *acts: Callable[[], object]) -> tuple[Report, list[str]]:
    events: list[str] = []
    driver = Submitter(store, toys.wanted(stages, WISH))
    supervisor = Supervisor(store, driver, 1, 0.0, lambda event: events.append(event.kind))
    return supervisor.run(Patience(*acts)), events  # type: ignore[arg-type]


def wait() -> None:
    """Nothing happens between two looks."""


def test_a_waiting_driver_reports_what_was_cancelled(fake_slurm: FakeSlurm, store: Store, toys: Toys) -> None:
    stages = [*toys.chain(2, "a"), *toys.chain(2, "b")]
    report, events = drive(store, toys, stages, lambda: slurm.cancel(store, [*stages[:2], stages[3]]), wait, wait, wait)
    assert [result.state for result in report.results.values()] == ["blocked", "blocked", "unfinished", "blocked"]
    assert {result.reason for result in report.in_state("blocked")} == {CANCELLED}
    assert events == ["blocked"] * 3
    assert Counter(fake_slurm.jobs().values()) == {"PENDING": 1, "CANCELLED": 3}


# --- another user's jobs


def test_another_users_jobs_are_left_to_them(fake_slurm: FakeSlurm, store: Store, toys: Toys) -> None:
    stages = toys.chain(2)
    slurm.submit(store, toys.wanted(stages, WISH))
    belongs_to(store, "anna")
    fake_slurm.answer("scancel", "scancel: error: Kill job error on job id 1: Access/permission denied")

    def get_stuck(job: list[str]) -> None:
        job[4] = "DependencyNeverSatisfied"

    fake_slurm.change(get_stuck)
    assert len(slurm.submit(store, toys.wanted(stages, WISH)).submitted) == 2
    assert not [call for call in fake_slurm.calls("scancel") if "1_" in call]
    fake_slurm.answer("scancel")
    cancelled = slurm.cancel(store, stages)
    assert (len(cancelled.jobs), cancelled.others) == (2, Counter({"anna": 2}))


def test_a_hung_job_of_another_user_is_told_once_and_waited_for(
    fake_slurm: FakeSlurm, store: Store, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    (stage,) = wide(toys, 1)
    driver = Submitter(store, toys.wanted([stage], WISH))
    driver.submit({})
    belongs_to(store, "anna")
    events: list[Event] = []
    supervisor = Supervisor(store, Submitter(store, toys.wanted([stage], WISH)), 3, 0.0, events.append)
    monkeypatch.setattr(supervisor, "_is_silent", lambda *_: True)
    for _ in range(4):
        supervisor._look_at_jobs()
    assert [(event.kind, "anna alone can cancel it" in event.reason) for event in events] == [("held", True)]
    assert list(fake_slurm.jobs().values()) == ["PENDING"]


# --- losses


def supervised(store: Store, toys: Toys, stage: Stage, events: list[Event]) -> Supervisor:
    supervisor = Supervisor(store, Submitter(store, toys.wanted([stage], WISH)), 1, 0.0, events.append)
    supervisor._submit()
    return supervisor


def cancelled_by_somebody(job: list[str]) -> None:
    job[1] = "CANCELLED"


def test_a_job_that_somebody_cancels_is_a_loss_like_any_other(fake_slurm: FakeSlurm, store: Store, toys: Toys) -> None:
    (stage,) = wide(toys, 1)
    events: list[Event] = []
    supervisor = supervised(store, toys, stage, events)
    for _ in range(2):
        fake_slurm.change(cancelled_by_somebody)
        supervisor._look_at_jobs()
        supervisor._look_at_jobs()
    assert [event.kind for event in events] == ["retrying", "failed"]
    assert len(fake_slurm.jobs()) == 2


def test_a_loss_counts_once_while_the_queue_is_full(fake_slurm: FakeSlurm, store: Store, toys: Toys) -> None:
    stages = wide(toys, 2)

    def lose_one() -> None:
        fake_slurm.limit(2)  # the other one and the warden
        fake_slurm.change(lambda job: job.__setitem__(1, "NODE_FAIL") if job[0] == "1_0" else None)

    report, events = drive(store, toys, stages, lose_one, *[wait] * 8)
    assert events == ["retrying"]
    assert {result.state for result in report.results.values()} == {"unfinished"}


def test_losses_of_a_stage_that_gets_on_are_forgiven(fake_slurm: FakeSlurm, store: Store, toys: Toys) -> None:
    (stage,) = wide(toys, 1)
    events: list[Event] = []
    supervisor = supervised(store, toys, stage, events)
    for step in (1, 5, 9, 9):
        workspace = store.open(stage, job=list(fake_slurm.jobs())[-1])
        workspace.report(step=step)
        workspace.fail("interrupted (SystemExit)", retryable=True)
        fake_slurm.change(cancelled_by_somebody)
        supervisor._look_at_jobs()
        supervisor._look_at_jobs()
    assert [event.kind for event in events] == ["retrying", "retrying", "retrying", "failed"]
