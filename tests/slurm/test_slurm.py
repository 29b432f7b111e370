"""Sweeps on a real Slurm: what it computes, and what it survives."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_graphs import Toys, done, results

from harness.errors import HarnessError
from harness.launch import local, slurm
from harness.launch.budget import Budget
from harness.launch.events import Event, Report
from harness.launch.slurm import Resources, queue, submission
from harness.launch.slurm.queue import Job, Queue
from harness.launch.slurm.sbatch import job_log
from harness.launch.status import status
from harness.store import Stage, Store
from harness.store.batches import Batches
from tests.slurm.slurm_cluster import Cluster

pytestmark = pytest.mark.slurm

WISH = Resources(time_minutes=30, cpus=2)


def jobs(store: Store) -> list[Job]:
    """All jobs that Slurm knows of the store's stages."""
    return [job for jobs in Queue.ask(Batches(store.root)).by_stage.values() for job in jobs]


def supervise(
    store: Store,
    toys: Toys,
    stages: list[Stage],
    on_event: Callable[[Event], None] = lambda event: None,
    retries: int = 2,
) -> Report:
    return slurm.run(store, toys.wanted(stages, WISH), poll_seconds=0.5, retries=retries, on_event=on_event)


def expected(tmp_path: Path, toys: Toys, stages: list[Stage]) -> dict[str, dict[str, bytes]]:
    """The results of the same stages, computed by local processes in a store of their own."""
    journal = toys.journal.read_text() if toys.journal.exists() else ""
    local_store = Store(tmp_path / "local")
    assert local.run(local_store, stages, processes=2, registry=toys.registry).complete
    toys.journal.write_text(journal)
    return results(local_store, stages)


def at_step(stage: Stage, step: int, act: Callable[[Event], None]) -> Callable[[Event], None]:
    """An event callback that acts once, when a stage has come to a step."""
    acted = threading.Event()

    def on_event(event: Event) -> None:
        if event.stage == stage and event.kind == "progress" and event.progress["step"] >= step and not acted.is_set():
            acted.set()
            act(event)

    return on_event


def test_a_chain_and_a_fan_give_what_local_processes_give(
    cluster: Cluster, store: Store, toys: Toys, tmp_path: Path
) -> None:
    stages = toys.chain(3) + toys.fan(3)
    nodes = set()

    def look(event: Event) -> None:
        with contextlib.suppress(queue.QueueUnreachable):
            note_nodes()

    def note_nodes() -> None:
        nodes.update(job.nodes for job in jobs(store) if job.state == "RUNNING")

    report = supervise(store, toys, stages, look)

    assert report.complete
    assert results(store, stages) == expected(tmp_path, toys, stages)
    assert set(toys.notes("start").values()) == {1}
    assert len(nodes) > 1
    for stage in stages:
        (attempt,) = store.attempts(stage)
        assert attempt.state == "finished"
        ((batch, job),) = Batches(store.root).jobs()[stage.id]
        assert attempt.job == job
        assert stat.S_IMODE(batch.private.stat().st_mode) == 0o700
        assert job_log(batch, attempt.job).exists()

    again = slurm.submit(store, toys.wanted(stages, WISH))
    assert not again.submitted
    assert set(again.done) == {stage.id for stage in stages}
    assert {found.state for found in status(store, stages).values()} == {"done"}


def test_submitting_again_submits_only_what_is_missing(cluster: Cluster, store: Store, toys: Toys) -> None:
    stages = toys.chain(2, seconds=0.5, steps=8)
    first = slurm.submit(store, toys.wanted(stages, WISH))
    assert list(first.submitted) == [stage.id for stage in stages]
    cluster.wait(lambda: status(store, stages)[stages[0].id].progress.get("step", 0) >= 1, 30, "running stage")
    seen = status(store, stages)
    assert seen[stages[0].id].state == "running"
    assert seen[stages[1].id].state == "queued"
    assert "Dependency" in seen[stages[1].id].reason
    # Beyond 22.05's default of one CPU a step, whatever the job had asked for.
    step = cluster.command("scontrol", "show", "step", f"{first.submitted[stages[0].id]}.0").stdout
    assert "CPUs=2" in step

    longer = [*stages, toys.stage("more", inputs={"before": stages[1]})]
    second = slurm.submit(store, toys.wanted(longer, WISH))
    assert list(second.submitted) == [longer[2].id]
    assert second.alive == first.submitted

    assert supervise(store, toys, longer).complete
    assert set(toys.notes("start").values()) == {1}


def test_a_killed_worker_is_replaced_and_resumes(cluster: Cluster, store: Store, toys: Toys, tmp_path: Path) -> None:
    stages = toys.chain(2, seconds=0.2, steps=10)
    kinds = []

    def kill(event: Event) -> None:
        (attempt,) = store.attempts(stages[0])
        os.kill(attempt.owner["pid"], signal.SIGKILL)

    on_event = at_step(stages[0], 3, kill)

    def note(event: Event) -> None:
        kinds.append(event.kind)
        on_event(event)

    assert supervise(store, toys, stages, note).complete
    assert "retrying" in kinds
    assert results(store, stages) == expected(tmp_path, toys, stages)
    assert toys.notes("start") == {stages[0].id: 2, stages[1].id: 1}
    # Only the step in which it was killed may have been done again.
    assert sum(toys.notes(f"step {number}")[stages[0].id] for number in range(1, 11)) <= 11
    first, second = store.attempts(stages[0])
    assert first.job == second.job, "its own script put it into the queue again"


@pytest.mark.parametrize("with_its_processes", [True, False])
def test_a_lost_node_costs_nothing_finished(
    cluster: Cluster, store: Store, toys: Toys, tmp_path: Path, with_its_processes: bool
) -> None:
    """A machine that dies takes its work along; one that loses only its daemon works on, and is not raced."""
    stages = [*toys.chain(2, seconds=0.3, steps=12), toys.stage("other", steps=3)]

    def break_node(event: Event) -> None:
        (node,) = {job.nodes for job in jobs(store) if job.id == event_job(event)}
        if with_its_processes:
            cluster.kill_node(node)
        else:
            cluster.kill(node)

    def event_job(event: Event) -> str:
        return store.attempts(event.stage)[-1].job

    assert supervise(store, toys, stages, at_step(stages[0], 3, break_node)).complete
    assert results(store, stages) == expected(tmp_path, toys, stages)
    starts = toys.notes("start")
    assert starts[stages[0].id] == (2 if with_its_processes else 1)
    assert starts[stages[1].id] == starts[stages[2].id] == 1
    assert set(toys.notes("finish").values()) == {1}


def test_a_controller_that_vanishes_for_a_while_is_waited_for(
    cluster: Cluster, store: Store, toys: Toys, tmp_path: Path
) -> None:
    stages = toys.chain(3, seconds=0.3, steps=40)

    def hiccup(event: Event) -> None:
        # slurmctld saves every few seconds. A job taken just before its death is truly gone, and submitted again.
        cluster.wait_until_saved()
        cluster.kill("slurmctld")
        threading.Timer(4.0, cluster.start_controller).start()

    retries = []
    on_event = at_step(stages[0], 2, hiccup)

    def listen(event: Event) -> None:
        if event.kind == "retrying":
            retries.append(f"{event.stage.slug}: {event.reason}")
        on_event(event)

    assert supervise(store, toys, stages, listen).complete
    assert retries == []
    assert results(store, stages) == expected(tmp_path, toys, stages)
    assert set(toys.notes("start").values()) == {1}


@pytest.mark.slow  # waits for a time limit, which Slurm counts in minutes
def test_a_job_out_of_time_goes_into_the_queue_again_and_resumes(cluster: Cluster, store: Store, toys: Toys) -> None:
    stages = toys.chain(1, seconds=0.2, steps=15)

    def warn(event: Event) -> None:
        cluster.command("scancel", "--signal=USR2", store.attempts(event.stage)[-1].job)

    assert supervise(store, toys, stages, at_step(stages[0], 3, warn)).complete
    first, second = store.attempts(stages[0])
    assert first.job == second.job
    assert sum(toys.notes(f"step {number}")[stages[0].id] for number in range(1, 16)) <= 16


def test_what_depends_on_a_failure_is_blocked_and_leaves_the_queue(cluster: Cluster, store: Store, toys: Toys) -> None:
    bad = toys.stage("bad", behaviour="raise")
    above = toys.stage("above", inputs={"before": bad})
    diverging = toys.stage("diverging", behaviour="diverge")
    beyond = toys.stage("beyond", inputs={"before": diverging})
    fine = toys.stage("fine")
    stages = [bad, above, diverging, beyond, fine]
    events: list[Event] = []

    report = supervise(store, toys, stages, events.append)

    states = [report.results[stage.id].state for stage in stages]
    assert states == ["failed", "blocked", "diverged", "blocked", "done"]
    assert report.results[bad.id].reason == "ValueError: two and two"
    (failed,) = [event for event in events if event.kind == "failed"]
    assert "two and two" in failed.tail
    assert [found.state for found in status(store, stages).values()] == states
    cluster.wait(lambda: not cluster.command("squeue", "--noheader").stdout.strip(), 20, "empty queue")
    assert toys.notes("start")[bad.id] == 1


def test_a_job_stuck_behind_a_dead_dependency_is_replaced(cluster: Cluster, store: Store, toys: Toys) -> None:
    (stage,) = toys.chain(1)
    dead = cluster.command("sbatch", "--parsable", "--output=/dev/null", "--wrap=exit 1").stdout.strip()
    batch = Batches(store.root).add({0: stage}, {})
    options = [f"--job-name={queue.array_name('toys', batch)}", "--hold", "--output=/dev/null", "--array=0"]
    stuck = cluster.command("sbatch", "--parsable", *options, f"--dependency=afterok:{dead}", "--wrap=true").stdout
    cluster.command("scontrol", "release", stuck.strip())
    cluster.wait(lambda: any(job.is_stuck for job in jobs(store)), 30, "stuck job")
    assert status(store, [stage])[stage.id].state == "lost"

    report = supervise(store, toys, [stage])

    assert report.complete
    states = {job.array: job.state for job in jobs(store)}
    assert states[stuck.strip()] == "CANCELLED"


def test_a_submission_cut_off_after_sbatch_is_completed(
    cluster: Cluster, store: Store, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the answer of sbatch and its being written down, as a driver may be."""
    stages = [*toys.chain(1), toys.stage("other")]
    with monkeypatch.context() as patch:

        def die(*arguments: object, **options: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(Batches, "accepted", die)
        with pytest.raises(KeyboardInterrupt):
            slurm.submit(store, toys.wanted(stages, WISH))
    assert [batch.job for batch in Batches(store.root)] == [""]

    again = slurm.submit(store, toys.wanted(stages, WISH))
    assert not again.submitted
    assert again.alive.keys() == {stage.id for stage in stages}
    assert supervise(store, toys, stages).complete
    assert [attempt.job for stage in stages for attempt in store.attempts(stage)] == list(again.alive.values())


def test_a_submission_whose_answer_was_lost_is_not_repeated(
    cluster: Cluster, store: Store, toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller takes the job, and its answer times out."""
    monkeypatch.setattr(submission, "RETRY_SECONDS", 0.1)
    real = shutil.which("sbatch")
    folder = tmp_path / "bin"
    folder.mkdir()
    fake = folder / "sbatch"
    timeout = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
    fake.write_text(f'#!/bin/sh\n{real} "$@"\necho "{timeout}" >&2\nexit 1\n')
    fake.chmod(0o755)
    (stage,) = toys.chain(1)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        submitted = slurm.submit(store, toys.wanted([stage], WISH)).submitted
    assert list(submitted) == [stage.id]
    assert len(jobs(store)) == 1
    assert supervise(store, toys, [stage]).complete
    assert toys.notes("start") == {stage.id: 1}


def test_ctrl_c_detaches_and_cancel_empties_the_queue(cluster: Cluster, store: Store, toys: Toys) -> None:
    stages = toys.chain(2, seconds=0.5, steps=20)
    began = time.monotonic()
    interrupt = at_step(stages[0], 1, lambda event: os.kill(os.getpid(), signal.SIGINT))

    report = supervise(store, toys, stages, interrupt)

    assert report.interrupted == signal.SIGINT
    assert time.monotonic() - began < 20
    assert status(store, stages)[stages[0].id].state == "running"
    assert len(slurm.cancel(store, stages).jobs) == 2
    cluster.wait(lambda: not cluster.command("squeue", "--noheader").stdout.strip(), 20, "empty queue")
    assert status(store, stages)[stages[0].id].state == "lost"
    assert not done(store, stages)


def test_two_drivers_at_once_submit_each_stage_once(cluster: Cluster, store: Store, toys: Toys) -> None:
    stages = toys.chain(3) + toys.fan(2)
    found = []

    def drive() -> None:
        found.append(slurm.submit(Store(store.root, store.terms), toys.wanted(stages, WISH)))

    other = threading.Thread(target=drive)
    other.start()
    drive()
    other.join()
    assert sorted(len(submission.submitted) for submission in found) == [0, len(stages)]
    assert supervise(store, toys, stages).complete
    assert set(toys.notes("start").values()) == {1}


def test_a_refusal_is_one_clear_error(cluster: Cluster, store: Store, toys: Toys) -> None:
    with pytest.raises(HarnessError, match="invalid partition") as caught:
        slurm.submit(store, toys.wanted(toys.chain(1), Resources(partition="nonsense")))
    assert "partition" in caught.value.remedy
    assert not list(Batches(store.root))


def test_a_job_is_started_as_its_profile_says(cluster: Cluster, store: Store, toys: Toys, tmp_path: Path) -> None:
    """Its own Python (a container's, say), options of sbatch and srun, nodes to stay away from, a node's folder, and
    the code as it was.
    """
    python = tmp_path / "python in a box"
    told = tmp_path / "told"
    python.write_text(
        f'#!/bin/sh\necho "$HARNESS_SCRATCH|$PYTHONPATH|$SLURMD_NODENAME|$*" >> {told}\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    asked = Resources(
        time_minutes=5,
        exclude=("n1", "n2", "n3"),
        options=(("nice", 7),),
        python=(str(python),),
        srun=("--label",),
        scratch='$TMPDIR/near `x` "y"',
        setup=(f"export TMPDIR={tmp_path}",),
    )
    stages = toys.chain(1, seconds=3.0)
    submission = slurm.submit(store, toys.wanted(stages, asked), snapshot=True)
    (job,) = submission.submitted.values()
    shown = cluster.command("scontrol", "show", "job", job).stdout
    assert "Nice=7" in shown
    cluster.wait(lambda: store.is_done(stages[0]), 60, "the stage to be done")
    scratch, path, node, words = told.read_text().splitlines()[0].split("|")
    assert scratch == f'{tmp_path}/near `x` "y"'
    assert Path(path.split(":")[0]).is_relative_to(store.root / "runs")
    assert node == "n4"
    assert words.startswith("-P -u -m submitit")


def test_the_log_of_a_job_that_cannot_start_is_shown(cluster: Cluster, store: Store, toys: Toys) -> None:
    """Its environment is broken: the stage never hears of it, and Slurm only knows that it ended."""
    events: list[Event] = []
    broken = Resources(time_minutes=5, setup=("echo the module is not there; exit 7",))
    wanted = toys.wanted(toys.chain(1), broken)
    report = slurm.run(store, wanted, poll_seconds=0.3, retries=0, on_event=events.append)
    assert [result.state for result in report.results.values()] == ["failed"]
    assert events[-1].kind == "failed"
    assert "the module is not there" in events[-1].tail


def test_nobody_has_to_wait_for_a_sweep_to_survive(cluster: Cluster, store: Store, toys: Toys, tmp_path: Path) -> None:
    """No driver: a killed worker is brought back by its script, a job that somebody cancelled by the warden."""
    stages = [*toys.chain(2, seconds=0.5, steps=20), *toys.chain(2, "other", seconds=0.5, steps=20)]
    slurm.submit(store, toys.wanted(stages, WISH))
    for stage in (stages[0], stages[2]):
        cluster.wait(lambda stage=stage: store.progress(stage).get("progress", {}).get("step", 0) >= 3, 60, "progress")
    os.kill(store.attempts(stages[0])[0].owner["pid"], signal.SIGKILL)
    cluster.command("scancel", store.attempts(stages[2])[0].job)
    cluster.wait(lambda: done(store, stages) == {stage.id for stage in stages}, 120, "finished sweep")
    assert results(store, stages) == expected(tmp_path, toys, stages)
    assert toys.notes("start") == {stages[0].id: 2, stages[1].id: 1, stages[2].id: 2, stages[3].id: 1}
    first, second = store.attempts(stages[2])
    assert first.job.partition("_")[0] != second.job.partition("_")[0]
    cluster.wait(lambda: not cluster.command("squeue", "--noheader").stdout.strip(), 30, "end of the wardens")


def test_where_slurm_takes_no_job_back_it_is_submitted_anew(
    cluster: Cluster, store: Store, toys: Toys, tmp_path: Path
) -> None:
    stages = toys.chain(2, seconds=0.2, steps=10)
    stubborn = Resources(time_minutes=30, requeue=False)
    slurm.submit(store, toys.wanted(stages, stubborn))
    cluster.wait(lambda: store.progress(stages[0]).get("progress", {}).get("step", 0) >= 3, 60, "progress")
    os.kill(store.attempts(stages[0])[0].owner["pid"], signal.SIGKILL)
    cluster.wait(lambda: done(store, stages) == {stage.id for stage in stages}, 120, "finished sweep")
    assert results(store, stages) == expected(tmp_path, toys, stages)
    first, second = store.attempts(stages[0])
    assert first.job != second.job
    assert toys.notes("start") == {stages[0].id: 2, stages[1].id: 1}


def test_a_job_that_never_gets_on_is_given_up(cluster: Cluster, store: Store, toys: Toys) -> None:
    (stage,) = [toys.stage("doomed", behaviour="crash")]
    slurm.submit(store, toys.wanted([stage], WISH))
    cluster.wait(lambda: toys.notes("start")[stage.id] >= 4, 200, "four starts")
    cluster.wait(lambda: not [job for job in jobs(store) if job.is_alive], 60, "end of the job")


def test_out_of_memory_is_answered_with_smaller_batches(cluster: Cluster, store: Store, toys: Toys) -> None:
    stage = toys.stage("hungry", behaviour="hungry", fits=2)
    assert supervise(store, toys, [stage]).complete
    assert [attempt.out_of_memory for attempt in store.attempts(stage)] == [True, True, False]
    record = store.record(stage)
    assert record is not None
    assert record.summary["batch_halved"] == 2


def test_a_job_whose_worker_hangs_is_replaced(cluster: Cluster, toys: Toys, tmp_path: Path) -> None:
    """Suspended with its heartbeat: Slurm sees it run, the store does not."""
    (tmp_path / "store").mkdir()
    terms = {"interval": 0.5, "poll": 0.2, "patience": 4.0, "patience_alive": 4.0}
    (tmp_path / "store" / "lease.json").write_text(json.dumps(terms))
    store = Store(tmp_path / "store")
    stages = toys.chain(2, seconds=0.5, steps=16)
    told = []

    def suspend(event: Event) -> None:
        os.kill(store.attempts(stages[0])[0].owner["pid"], signal.SIGSTOP)

    on_event = at_step(stages[0], 3, suspend)

    def note(event: Event) -> None:
        told.append(event.reason)
        on_event(event)

    assert supervise(store, toys, stages, note).complete
    assert any("not been heard of" in reason for reason in told)
    assert results(store, stages) == expected(tmp_path, toys, stages)
    assert toys.notes("start") == {stages[0].id: 2, stages[1].id: 1}


def test_what_was_given_up_is_tried_again_on_request(cluster: Cluster, store: Store, toys: Toys) -> None:
    stages = [toys.stage("moody", behaviour="raise_once"), toys.stage("bad", behaviour="raise")]
    stages.append(toys.stage("behind", inputs={"before": stages[0]}))
    modest = Resources(time_minutes=30, memory_gb=1.0)
    report = slurm.run(store, toys.wanted(stages, modest), poll_seconds=0.5)
    assert [result.state for result in report.results.values()] == ["failed", "failed", "blocked"]
    again = slurm.retry(store, "sweep", {stages[0].id}, more_memory=True)
    assert again.submitted.keys() == {stages[0].id, stages[2].id}
    wishes = {stage_id: batch.wishes for batch in Batches(store.root) for stage_id in batch.tasks.values()}
    assert wishes[stages[0].id]["memory_gb"] == 1.5
    assert wishes[stages[2].id]["memory_gb"] == 1.0
    cluster.wait(lambda: done(store, stages) == {stages[0].id, stages[2].id}, 60, "second try")


def test_a_spent_budget_ends_a_sweep(cluster: Cluster, store: Store, toys: Toys) -> None:
    """What waits in the queue does not begin, what is missing is not submitted, and a waiting driver says why."""
    stages = [stage for name in "abcdef" for stage in toys.chain(1, name, seconds=0.5, steps=4)]
    budget = Budget(core_hours=1e-7)
    report = slurm.run(store, toys.wanted(stages, WISH, budget), poll_seconds=0.5)
    states = Counter(result.state for result in report.results.values())
    assert states["done"] < len(stages)
    assert states["blocked"] == len(stages) - states["done"]
    assert all("core-hours" in result.reason for result in report.in_state("blocked"))
    raised = slurm.run(store, toys.wanted(stages, WISH, Budget(core_hours=1.0)), poll_seconds=0.5)
    assert raised.complete


def test_no_more_jobs_than_the_budget_has(cluster: Cluster, store: Store, toys: Toys) -> None:
    stages = [*toys.chain(2, "a"), *toys.chain(2, "b")]
    found = slurm.submit(store, toys.wanted(stages, WISH, Budget(jobs=3)))
    assert len(found.submitted) == 3
    assert list(found.blocked.values()) == ["the budget is spent: 3 jobs"]
    assert not slurm.submit(store, toys.wanted(stages, WISH, Budget(jobs=3))).submitted
    assert supervise(store, toys, stages).complete
