from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from toy_graphs import Toys, done, results

from harness.errors import HarnessError
from harness.launch import local
from harness.launch.events import Event, Report
from harness.store import DamagedStage, Owner, Stage, StorageFull, Store, Terms

PATIENCE = 100.0  # seconds; tests share machines with trainings


def run(store: Store, toys: Toys, stages: list[Stage], **options: object) -> Report:
    return local.run(store, stages, registry=toys.registry, **options)  # type: ignore[arg-type]


def undisturbed(tmp_path: Path, toys: Toys, stages: list[Stage]) -> dict[str, dict[str, bytes]]:
    """What the stages give when nothing goes wrong, in a store of their own and off the journal."""
    journal = toys.journal.read_text() if toys.journal.exists() else ""
    store = Store(tmp_path / "undisturbed")
    assert run(store, toys, stages, processes=1).complete
    toys.journal.write_text(journal)
    return results(store, stages)


@pytest.mark.parametrize("processes", [1, 3])
def test_the_number_of_processes_changes_nothing_but_the_time(
    store: Store, toys: Toys, tmp_path: Path, processes: int
) -> None:
    stages = toys.chain(3) + toys.fan(4)
    report = run(store, toys, stages, processes=processes)
    assert report.complete
    assert list(report.results) == [stage.id for stage in stages]
    assert set(toys.notes("start").values()) == {1}
    assert results(store, stages) == undisturbed(tmp_path, toys, stages)
    pids = {line.split()[1] for line in toys.journal.read_text().splitlines()}
    assert len(pids) <= processes
    assert str(os.getpid()) not in pids


def test_what_is_done_is_reused_without_starting_anything(store: Store, toys: Toys) -> None:
    stages = toys.fan(3)
    assert run(store, toys, stages).complete
    before = toys.journal.read_text()
    events: list[Event] = []
    report = run(store, toys, stages, on_event=events.append)
    assert report.complete
    assert all(result.reused for result in report.results.values())
    assert {event.kind for event in events} == {"reused"}
    assert toys.journal.read_text() == before

    more = [*stages, toys.stage("new", inputs={"gather": stages[-1]})]
    report = run(store, toys, more)
    assert [result.stage for result in report.results.values() if not result.reused] == [more[-1]]
    assert toys.notes("start")[stages[0].id] == 1


def test_the_first_variant_is_finished_before_the_next_begins(store: Store, toys: Toys) -> None:
    stages = toys.chain(3, "a") + toys.chain(3, "b")
    finished: list[Stage] = []
    run(store, toys, stages, processes=1, on_event=lambda e: finished.append(e.stage) if e.kind == "finished" else None)
    assert finished == stages


def test_events_tell_the_story_of_a_stage(store: Store, toys: Toys) -> None:
    (stage,) = toys.chain(1, seconds=0.3)
    events: list[Event] = []
    run(store, toys, [stage], on_event=events.append)
    kinds = [event.kind for event in events]
    assert kinds[0] == "started"
    assert kinds[-1] == "finished"
    assert set(kinds[1:-1]) == {"progress"}
    assert events[0].attempt == 1
    assert events[1].progress["steps"] == 3
    assert events[-1].outcome == "complete"
    assert events[0].log == store.path(stage) / "log.txt"


def test_a_worker_that_dies_once_costs_one_attempt(store: Store, toys: Toys) -> None:
    stages = [toys.stage("weak", behaviour="crash_once"), *toys.chain(2)]
    events: list[Event] = []
    assert run(store, toys, stages, on_event=events.append).complete
    (retrying,) = [event for event in events if event.kind == "retrying"]
    assert "SIGKILL" in retrying.reason
    assert "last words before the crash" in retrying.tail
    first, second = store.attempts(stages[0])
    assert (first.state, second.state) == ("failed", "finished")
    assert "SIGKILL" in first.reason


def test_a_worker_that_always_dies_fails_its_stage_and_blocks_what_needs_it(store: Store, toys: Toys) -> None:
    bad = toys.stage("bad", behaviour="crash")
    above = toys.stage("above", inputs={"x": bad})
    top = toys.stage("top", inputs={"x": above})
    good = toys.chain(2)
    events: list[Event] = []
    report = run(store, toys, [bad, above, top, *good], on_event=events.append)
    states = [result.state for result in report.results.values()]
    assert states == ["failed", "blocked", "blocked", "done", "done"]
    assert not report.complete
    assert toys.notes("start")[bad.id] == 2
    (failed,) = [event for event in events if event.kind == "failed"]
    assert "last words before the crash" in failed.tail
    assert str(bad) in report.results[above.id].reason
    assert [event.stage for event in events if event.kind == "blocked"] == [above, top]


@pytest.mark.parametrize(
    ("behaviour", "reason", "starts"),
    [
        ("raise", "ValueError: two and two", 1),
        ("advise", "the data folder is empty\n  → give another one", 1),
        ("exit", "the worker process ended with exit code 3", 2),
        ("forget", "RuntimeError: the executor of 'toy' returned without calling finish()", 1),
    ],
)
def test_other_failures_are_retried_only_if_that_may_help(
    store: Store, toys: Toys, behaviour: str, reason: str, starts: int
) -> None:
    (stage,) = [toys.stage("bad", behaviour=behaviour)]
    report = run(store, toys, [stage])
    assert report.results[stage.id].state == "failed"
    assert report.results[stage.id].reason == reason
    assert toys.notes("start")[stage.id] == starts
    assert store.attempts(stage)[-1].state == "failed"


def test_a_hiccup_of_the_file_system_is_retried(store: Store, toys: Toys) -> None:
    stage = toys.stage("hiccup", behaviour="hiccup_once")
    assert run(store, toys, [stage]).complete
    assert toys.notes("start")[stage.id] == 2


def test_the_traceback_is_in_the_log_and_the_tail(store: Store, toys: Toys) -> None:
    stage = toys.stage("bad", behaviour="raise")
    events: list[Event] = []
    report = run(store, toys, [stage], on_event=events.append)
    assert "ValueError: two and two\nis five" in events[-1].tail
    log = report.results[stage.id].log
    assert log
    assert "Traceback" in log.read_text()


def test_a_diverged_stage_is_an_outcome_and_nothing_is_built_on_it(store: Store, toys: Toys) -> None:
    diverging = toys.stage("diverging", behaviour="diverge")
    stages = [diverging, toys.stage("above", inputs={"x": diverging})]
    for _ in range(2):  # the second time it is reused
        report = run(store, toys, stages)
        assert [result.state for result in report.results.values()] == ["diverged", "blocked"]


def test_a_full_disk_ends_the_run_with_one_clear_error(store: Store, toys: Toys) -> None:
    stages = [toys.stage("full", behaviour="full"), *toys.chain(3)]
    with pytest.raises(StorageFull, match="full"):
        run(store, toys, stages, processes=1)
    assert toys.notes("start") == {stages[0].id: 1}


def test_a_really_full_disk_is_survived(toys: Toys, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k,mode=777", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small file system")
    try:
        store = Store(folder / "store", Terms(poll=0.1))
        stages = toys.chain(4)
        filler = folder / "filler"

        def fill(event: Event) -> None:
            if event.kind == "finished" and not filler.exists():
                with pytest.raises(OSError, match="No space"), open(filler, "wb", buffering=0) as file:  # noqa: PT012
                    while True:
                        file.write(b"x" * 1024)

        with pytest.raises(StorageFull):
            run(store, toys, stages, processes=1, on_event=fill)
        kept = done(store, stages)
        assert kept
        filler.unlink()
        assert run(store, toys, stages).complete
        assert all(toys.notes("start")[stage_id] == 1 for stage_id in kept)
        assert results(store, stages) == undisturbed(tmp_path, toys, stages)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_damage_is_said_before_anything_starts(store: Store, toys: Toys) -> None:
    stages = toys.chain(2)
    run(store, toys, stages[:1])
    (store.path(stages[0]) / "done.json").write_text("{")
    with pytest.raises(DamagedStage, match="--repair"):
        run(store, toys, stages)
    store.repair(stages)
    assert run(store, toys, stages).complete


def test_a_damaged_input_fails_what_reads_it(store: Store, toys: Toys) -> None:
    stages = toys.chain(2)
    run(store, toys, stages[:1])
    (store.path(stages[0]) / "result.json").write_text('{"value": 1e9}')
    report = run(store, toys, stages)
    assert report.results[stages[1].id].state == "failed"
    assert "result.json is damaged" in report.results[stages[1].id].reason
    assert "--repair" in report.results[stages[1].id].reason


def test_a_graph_that_cannot_be_walked_is_refused(store: Store, toys: Toys) -> None:
    _, last = toys.chain(2)
    with pytest.raises(HarnessError, match="neither done nor part of this run"):
        run(store, toys, [last])


def test_an_unknown_kind_is_one_clear_failure(store: Store, toys: Toys) -> None:
    stage = Stage("magic", 1, {})
    report = run(store, toys, [stage])
    assert "no executor for stages of kind 'magic'" in report.results[stage.id].reason


def test_what_executors_print_and_read_stays_off_the_line(store: Store, toys: Toys) -> None:
    stage = toys.stage("noisy", behaviour="read_stdin")
    assert run(store, toys, [stage]).complete
    log = (store.path(stage) / "log.txt").read_text()
    assert "noise on standard output\nmore noise\n" in log


def test_the_folder_of_the_user_is_not_imported_from(
    store: Store, toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of the user's with the name of a library must not break the workers."""
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    assert run(store, toys, toys.chain(1)).complete


def test_threads_are_pinned_before_any_library_is_loaded(store: Store, toys: Toys, tmp_path: Path) -> None:
    (tmp_path / "asks.py").write_text(
        "import os, torch\n"
        "def run(workspace):\n"
        "    found = {'env': os.environ['OMP_NUM_THREADS'], 'torch': torch.get_num_threads()}\n"
        "    workspace.write_json('found.json', found)\n"
        "    workspace.finish()\n"
    )
    toys.registry.write_text(json.dumps({"asks": "asks:run"}))
    os.environ["PYTHONPATH"] += os.pathsep + str(tmp_path)  # restored with the fixture's own change
    for threads in (1, 2):
        stage = Stage("asks", threads, {})
        assert run(store, toys, [stage], threads=threads).complete
        found = json.loads(store.outputs(stage).path("found.json").read_bytes())
        assert found == {"env": str(threads), "torch": threads}
        provenance = store.outputs(stage).record.provenance["threads"]
        assert provenance["OMP_NUM_THREADS"] == str(threads)
        assert provenance["torch"] == threads


# Kills, from a driver in a process of its own

DRIVER = """
import json, sys, time
from pathlib import Path
from harness.launch import local
from harness.store import Stage, Store, Terms
stages = [Stage.from_json(value) for value in json.loads(Path(sys.argv[2]).read_text())]
store = Store(sys.argv[1], Terms(poll=0.1))
report = local.run(store, stages, processes=2, registry=Path(sys.argv[3]))
print(json.dumps({"complete": report.complete, "interrupted": report.interrupted}), flush=True)
"""


def drive(store: Store, toys: Toys, stages: list[Stage]) -> subprocess.Popen[str]:
    graph = toys.registry.with_name("graph.json")
    graph.write_text(json.dumps([stage.to_json() for stage in stages]))
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(store.root), str(graph), str(toys.registry)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def workers_of(driver: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{driver.pid}/task/{driver.pid}/children")
    return [int(pid) for pid in children.read_text().split()] if children.exists() else []


def wait_for_death(pids: list[int], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while living := [pid for pid in pids if Path(f"/proc/{pid}").exists() and not is_zombie(pid)]:
        assert time.monotonic() < end, f"still alive: {living}"
        time.sleep(0.02)


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_kills_of_everything_at_random_moments_change_no_byte(store: Store, toys: Toys, tmp_path: Path) -> None:
    stages = toys.chain(3, seconds=0.05, steps=6) + toys.fan(3, seconds=0.05, steps=4)
    generator = random.Random(7)
    kills = 0
    finished_before: dict[str, int] = {}
    while kills < 7:
        driver = drive(store, toys, stages)
        try:
            driver.wait(timeout=generator.uniform(0.3, 2.0))
        except subprocess.TimeoutExpired:
            pids = [driver.pid, *workers_of(driver)]
            generator.shuffle(pids)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            kills += 1
            wait_for_death(pids)
        driver.communicate()
        starts = toys.notes("start")
        for stage_id, count in finished_before.items():
            assert starts[stage_id] == count, "a finished stage was begun again"
        finished_before = {stage_id: starts[stage_id] for stage_id in done(store, stages)}
        if driver.returncode == 0:
            break
    assert kills >= 2
    assert run(store, toys, stages, processes=2).complete
    assert results(store, stages) == undisturbed(tmp_path, toys, stages)
    # Resumed, not begun anew: each kill costs at most the step that each of two workers was in.
    steps = sum(len(line.split(" ", 2)) == 3 and " step " in line for line in toys.journal.read_text().splitlines())
    assert steps <= 3 * 6 + 8 * 4 + 2 * kills
    # Specs and attempts are also written without a lease: their temporary files may be a living process's and stay.
    left = [path for stage in stages for path in store.path(stage).rglob("*.tmp")]
    assert not [path for path in left if not path.name.startswith(".stage.") and path.parent.name != "attempts"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_do_not_outlive_their_scheduler(store: Store, toys: Toys, number: signal.Signals) -> None:
    stages = [toys.stage(name, behaviour="stall_once") for name in ("a", "b")]
    driver = drive(store, toys, stages)
    try:
        end = time.monotonic() + PATIENCE
        while len(toys.notes("step 2")) < 2:
            assert time.monotonic() < end
            time.sleep(0.05)
        workers = workers_of(driver)
        assert len(workers) == 2
        os.kill(driver.pid, number)
        wait_for_death([driver.pid, *workers])
        output, _ = driver.communicate(timeout=PATIENCE)
    finally:
        driver.kill()
    if number != signal.SIGKILL:
        assert json.loads(output) == {"complete": False, "interrupted": int(number)}
        assert [store.attempts(stage)[-1].reason for stage in stages] == ["interrupted"] * 2
    holder = store.holder(stages[0])
    assert holder is not None
    assert holder.owner.is_alive() is False


def test_ctrl_c_at_the_terminal_reaches_the_scheduler_alone(store: Store, toys: Toys) -> None:
    """The terminal signals the whole foreground group; workers that died by themselves would look like crashes."""
    driver = drive(store, toys, [toys.stage("slow", behaviour="stall_once")])
    try:
        end = time.monotonic() + PATIENCE
        while not toys.notes("step 2"):
            assert time.monotonic() < end
            time.sleep(0.05)
        os.killpg(driver.pid, signal.SIGINT)
        output, _ = driver.communicate(timeout=PATIENCE)
    finally:
        driver.kill()
    assert json.loads(output) == {"complete": False, "interrupted": int(signal.SIGINT)}


def test_two_runs_at_once_share_the_work(store: Store, toys: Toys, tmp_path: Path) -> None:
    stages = toys.chain(2, seconds=0.2) + toys.fan(4, seconds=0.2)
    drivers = [drive(store, toys, stages) for _ in range(2)]
    outputs = [driver.communicate(timeout=2 * PATIENCE)[0] for driver in drivers]
    assert [json.loads(output)["complete"] for output in outputs] == [True, True]
    assert set(toys.notes("start").values()) == {1}
    assert results(store, stages) == undisturbed(tmp_path, toys, stages)


def test_a_run_takes_over_when_the_other_one_dies(store: Store, toys: Toys) -> None:
    first = toys.stage("first", behaviour="stall_once")
    stages = [first, toys.stage("second", inputs={"before": first})]
    other = drive(store, toys, stages)
    try:
        end = time.monotonic() + PATIENCE
        while not toys.notes("step 2"):
            assert time.monotonic() < end
            time.sleep(0.02)
        events: list[Event] = []

        def kill_when_held(event: Event) -> None:
            events.append(event)
            if event.kind == "held" and event.stage == stages[0]:
                os.kill(other.pid, signal.SIGKILL)

        assert run(store, toys, stages, on_event=kill_when_held).complete
    finally:
        other.kill()
        other.communicate()
    assert events[0].kind == "held"
    assert toys.notes("step 2") == {stage.id: 1 for stage in stages}


def test_a_holder_elsewhere_that_fell_silent_is_replaced(
    tmp_path: Path, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another host, sharing the store, has died with the lease of a stage."""
    monkeypatch.setattr(local, "POLL_SECONDS", 0.05)
    store = Store(tmp_path / "store", Terms(patience=0.5, poll=0.05))
    stages = [toys.stage("held"), toys.stage("free")]
    folder = store.root / "leases" / stages[0].id
    folder.mkdir(parents=True)
    (folder / "1.json").write_text(json.dumps({**Owner.current().to_json(), "host": "elsewhere"}))
    (folder / "1.beat").write_text("000000000001 0\n")
    events: list[Event] = []
    report = run(store, toys, [stages[1], stages[0]], processes=1, on_event=events.append)
    assert report.complete
    assert [event.kind for event in events if event.stage == stages[0]][:2] == ["held", "started"]


def test_it_runs_in_a_thread_too(store: Store, toys: Toys) -> None:
    reports: list[Report] = []
    thread = threading.Thread(target=lambda: reports.append(run(store, toys, toys.chain(2))))
    thread.start()
    thread.join()
    assert reports[0].complete


def test_handlers_of_signals_are_given_back(store: Store, toys: Toys) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run(store, toys, toys.chain(1))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_want_of_memory_after_other_stages_is_tried_again_in_a_new_process(store: Store, toys: Toys) -> None:
    """It keeps in part what they had; and no batch is made smaller for it."""
    before, roomy = toys.stage("before"), toys.stage("roomy", behaviour="roomy")
    report = run(store, toys, [before, roomy], processes=1)
    assert [result.state for result in report.results.values()] == ["done", "done"]
    failed, finished = store.attempts(roomy)
    assert failed.out_of_memory
    assert finished.relief == 0


def test_want_of_memory_is_answered_as_long_as_batches_can_shrink(store: Store, toys: Toys) -> None:
    """What has no batches would want as much again, for ever."""
    hungry, too_large = toys.stage("hungry", behaviour="hungry", fits=1), toys.stage("large", behaviour="too_large")
    starving = toys.stage("starving", behaviour="hungry", fits=0)
    report = run(store, toys, [hungry, too_large, starving])
    assert [result.state for result in report.results.values()] == ["done", "failed", "failed"]
    assert [len(store.attempts(stage)) for stage in (hungry, too_large, starving)] == [4, 1, 5]
    owners = {attempt.owner["pid"] for attempt in store.attempts(hungry)}
    assert len(owners) == 4, "what a process has had it keeps in part"
    assert "one sample at a time" in report.results[starving.id].reason
