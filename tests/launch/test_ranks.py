"""Several ranks on this machine: who starts them, who ends them, and what becomes of a stage that loses one."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.launch import follower, local
from harness.launch.events import Event
from harness.launch.execution import execute
from harness.launch.siblings import Siblings, ranks_of
from harness.store import LeaseLost, Stage, Store, Terms, Workspace

HERE = Path(__file__).resolve().parent
VALUE = 66.0  # a step's sum over all ranks


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(HERE))
    file = tmp_path / "registry.json"
    file.write_text(json.dumps({"train": "rank_toys:run", "alone": "rank_toys:run"}))
    return file


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", Terms(poll=0.1))


def stage(kind: str = "train", ranks: int = 2, steps: int = 5, **config: object) -> Stage:
    return Stage(kind, 1, {"steps": steps, **config}, location={"runtime": json.dumps({"ranks": ranks})})


def value(store: Store, stage: Stage) -> float:
    return float(json.loads(store.outputs(stage).path("result.json").read_bytes())["value"])


def total(steps: int) -> float:
    return VALUE * steps * (steps + 1) / 2


def followers() -> set[int]:
    """Processes of this machine that were started by this test as ranks."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                is_ours = f"PYTEST_CURRENT_TEST={os.environ['PYTEST_CURRENT_TEST']}".encode() in (
                    (entry / "environ").read_bytes().split(b"\0")
                )
            except OSError:
                continue
            if b"harness.launch.follower" in words and is_ours:
                found.add(int(entry.name))
    return found


def wait_for_no_followers(seconds: float = 20) -> float:
    began = time.monotonic()
    while followers():
        assert time.monotonic() - began < seconds, followers()
        time.sleep(0.1)
    return time.monotonic() - began


def test_ranks_are_no_part_of_a_stage() -> None:
    assert {stage(ranks=ranks).id for ranks in (1, 2, 4)} == {stage().id}
    asked = stage(ranks=3), stage("features", ranks=3), Stage("train", 1, {})
    assert [ranks_of(each) for each in asked] == [3, 1, 1]


def test_stages_of_one_and_of_several_ranks_follow_each_other(store: Store, registry: Path) -> None:
    stages = [stage(steps=3), stage(steps=4), stage("alone", steps=5), stage(ranks=3, steps=6), stage(ranks=1, steps=7)]
    report = local.run(store, stages, processes=3, registry=registry)
    assert report.complete, {result.stage.id: result.reason for result in report.results.values()}
    for each in stages:
        record = store.record(each)
        assert record is not None
        assert record.summary["ranks"] == ranks_of(each)
        assert value(store, each) == total(each.config["steps"])
    wait_for_no_followers()


@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_is_killed_ends_the_attempt_of_all_and_the_next_resumes(
    store: Store, registry: Path, victim: int
) -> None:
    each = stage(behaviour="crash_once", on_rank=victim)
    events: list[Event] = []
    report = local.run(store, [each], processes=2, registry=registry, on_event=events.append)
    assert report.complete
    (retry,) = [event for event in events if event.kind == "retrying"]
    assert "SIGKILL" in retry.reason
    assert ("rank 1" in retry.reason) == (victim == 1)
    assert [attempt.state for attempt in store.attempts(each)] == ["failed", "finished"]
    assert value(store, each) == total(5)
    steps = [event.progress["step"] for event in events if event.kind == "progress" and event.attempt == 2]
    assert steps[0] == 3  # not from the beginning
    wait_for_no_followers()


def test_what_a_rank_has_to_say_is_the_stage_s_reason(store: Store, registry: Path) -> None:
    each = stage(behaviour="advise")
    report = local.run(store, [each], processes=2, registry=registry)
    result = report.results[each.id]
    assert result.state == "failed"
    assert "rank 1: the data folder is empty" in result.reason
    assert len(store.attempts(each)) == 1  # another attempt would not mend it
    folder = store.find(each.id)
    assert folder is not None
    assert "HarnessError" in (folder / "log.txt").read_text()  # with its traceback


def test_a_rank_out_of_memory_halves_the_batches_of_all(store: Store, registry: Path) -> None:
    each = stage(behaviour="hungry")
    assert local.run(store, [each], processes=2, registry=registry).complete
    record = store.record(each)
    assert record is not None
    assert (record.summary["batch"], record.summary["batch_halved"]) == (2, 2)
    assert value(store, each) == total(5)


def test_losing_the_lease_ends_all_ranks(store: Store, registry: Path) -> None:
    siblings = Siblings(registry)
    each = stage(steps=2000, seconds=0.02)

    def steal() -> None:
        while not store.progress(each):
            time.sleep(0.05)
        (store.root / "leases" / each.id / "99.json").write_text("{}")

    thread = threading.Thread(target=steal)
    thread.start()
    ended = execute(store, each, registry=registry, together=siblings.together)
    thread.join()
    assert ended.state == "held"
    assert LeaseLost(f"stage {each.id}").message in ended.reason
    wait_for_no_followers()


def test_followers_end_with_their_host(store: Store, registry: Path) -> None:
    each = stage(steps=2000, seconds=0.02)
    killed: list[float] = []

    def kill(event: Event) -> None:
        if event.kind == "progress" and not killed:
            (attempt,) = store.attempts(each)
            assert followers()
            os.kill(attempt.owner["pid"], signal.SIGKILL)
            killed.append(wait_for_no_followers(5))

    local.run(store, [each], processes=2, registry=registry, retries=0, on_event=kill)
    assert killed


def test_only_rank_0_can_write(store: Store) -> None:
    each = stage()
    with store.open(each) as workspace:
        follower = store.follow(each)
        with pytest.raises(RuntimeError, match="not, or no longer, held by this process"):
            follower.write_json("result.json", {})
        with pytest.raises(RuntimeError, match="not, or no longer, held by this process"):
            follower.finish()
        workspace.finish()


def test_ranks_compute_the_stage_that_rank_0_has(store: Store, registry: Path) -> None:
    """Another driver, which waits for the same stage, may write other places into its file meanwhile."""
    each, siblings = stage(), Siblings(registry)

    def disturbed(workspace: Workspace) -> AbstractContextManager[None]:
        store.register(replace(each, location={"runtime": json.dumps({"ranks": 4})}))
        return siblings.together(workspace)

    assert execute(store, each, registry=registry, together=disturbed).state == "finished"
    record = store.record(each)
    assert record is not None
    assert record.summary["locations"] == [dict(each.location)] * 2


def test_a_rank_waits_until_it_sees_the_inputs(store: Store, registry: Path) -> None:
    """Which its node may show later than that of rank 0."""
    first = stage("alone", ranks=1)
    second = replace(stage("alone", ranks=1), inputs={"before": first.id})
    store.register(second)

    def finish() -> None:
        time.sleep(2)
        assert execute(store, first, registry=registry).state == "finished"

    thread = threading.Thread(target=finish)
    thread.start()
    order = {"root": str(store.root), "stage": second.to_json()}
    with pytest.raises(RuntimeError, match="held by this process"):  # it has computed, and may not write
        follower._execute(order, {}, registry)
    thread.join()
    assert store.is_done(first)


def test_a_family_that_did_not_come_to_be_is_not_asked(
    store: Store, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    siblings, started = Siblings(registry), subprocess.Popen
    calls: list[object] = []

    def scarce(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise BlockingIOError(errno.EAGAIN, "no more processes")
        return started(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", scarce)
    each = stage(ranks=3)
    ended = execute(store, each, registry=registry, together=siblings.together)
    assert (ended.state, ended.retryable) == ("failed", True)
    assert execute(store, each, registry=registry, together=siblings.together).state == "finished"
