from __future__ import annotations

import json
import os
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.store import Owner, Stage, Store, Terms
from harness.store.batches import Batches
from harness.store.disposal import Disposal, dispose
from harness.store.garbage import TEMPORARY_SECONDS, Garbage, Item, find
from harness.store.lease import holder


def make(name: str, **inputs: Stage) -> Stage:
    return Stage("train", 1, {"name": name}, {role: stage.id for role, stage in inputs.items()}, slug=name)


def finish(store: Store, stage: Stage) -> Path:
    with store.open(stage) as work:
        work.write_bytes("weights.bin", stage.slug.encode() * 100)
        with work.replace_directory("model") as folder:
            (folder / "a.bin").write_bytes(b"a" * 50)
            (folder / "b.bin").write_bytes(b"b" * 50)
        work.finish()
    return work.directory


def begin(store: Store, stage: Stage) -> Path:
    """An attempt that has left a checkpoint and its lease."""
    work = store.open(stage)
    for number in range(3):
        work.write_bytes(f"scratch/part{number}.bin", b"checkpoint" * 20)
    work.fail("no more time", retryable=True)
    return work.directory


def late_scratch(folder: Path) -> Path:
    """As a kill between the record of a stage and its tidying up leaves it."""
    scratch = folder / "scratch"
    scratch.mkdir()
    for number in range(3):
        (scratch / f"part{number}.bin").write_bytes(b"checkpoint" * 20)
    return scratch


def dead_lease(store: Store, stage: Stage, **owner: object) -> Path:
    folder = store.root / "leases" / stage.id
    folder.mkdir(parents=True, exist_ok=True)
    gone = replace(Owner.current(), start=1)
    (folder / "1.json").write_text(json.dumps(replace(gone, **owner).to_json()))  # type: ignore[arg-type]
    (folder / "1.beat").write_text(f"{7:012d} {time.time():016.3f}\n")
    return folder


def aged(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half of it")
    before = time.time() - TEMPORARY_SECONDS - 60
    os.utime(path, (before, before))
    return path


def kinds(garbage: Garbage) -> Counter[str]:
    return Counter(item.kind for item in garbage.items)


def remove(store: Store, garbage: Garbage, *named: Stage) -> Disposal:
    return dispose(store, garbage, lambda: {stage.id for stage in named})


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_finding_changes_nothing_and_a_clean_store_has_none(store: Store, stage: Stage) -> None:
    assert find(store, set()).items == ()
    assert not store.root.exists()
    finish(store, stage)
    assert find(store, {stage.id}).items == ()


def test_every_kind_is_found_and_goes_and_nothing_else(store: Store) -> None:
    done, tidied, begun, orphan, unnamed, broken = (make(name) for name in "abcdef")
    late_scratch(finish(store, done))
    dead_lease(store, done)
    finish(store, tidied)
    kept = files(begin(store, begun))
    half = store.path(begun) / ".model.0123456789ab.tmp"
    half.mkdir()
    (half / "weights").write_bytes(b"half")
    begin(store, orphan)
    finish(store, unnamed)
    finish(store, broken)
    store.set_aside(broken, "it is damaged")
    old = aged(store.root / "names" / ".x.0123456789ab.tmp")
    spec = aged(store.path(tidied) / ".stage.json.0123456789ab.tmp")
    young = store.root / "names" / ".y.0123456789ab.tmp"
    young.write_bytes(b"of a writer")
    batches = Batches(store.root)
    ended = batches.accepted(batches.add({0: done}, {}), "7")
    batches.accepted(batches.add({0: begun}, {}), "8")
    (store.root / "batches" / "0123456789ab" / "private").mkdir(parents=True)
    (store.root / "trash" / "abc").mkdir(parents=True)
    (store.root / "trash" / "abc" / "x").write_bytes(b"x")
    named = (done, tidied, begun)
    found = find(store, {stage.id for stage in named}, [ended])
    assert kinds(found) == {
        "scratch": 1,
        "leases": 2,  # also that of the stage that was set aside
        "orphans": 1,
        "unnamed": 1,
        "temporary": 4,
        "batches": 1,
        "damaged": 1,
        "trash": 1,
    }
    assert next(item.size for item in found.items if item.kind == "scratch") == 600
    disposal = remove(store, found, *named)
    assert len(disposal.removed) == len(found.items)
    assert (disposal.kept, disposal.refused) == ([], [])
    assert find(store, {stage.id for stage in named}).items == ()
    again = Store(store.root, store.terms)
    assert again.outputs(done).path("model/a.bin").exists()
    again.outputs(tidied)
    assert files(again.path(begun)) == kept
    assert again.find(orphan.id) is again.find(unnamed.id) is None
    assert not old.exists()
    assert not spec.exists()
    assert young.exists()
    assert not (store.root / "trash").exists() or not list((store.root / "trash").iterdir())
    assert {path.name for path in (store.root / "leases").iterdir()} == {begun.id, "submission"}
    # What was removed can be computed again.
    finish(again, orphan)
    finish(again, unnamed)
    finish(again, broken)
    again.open(begun).finish()


WORKER = """
import sys, time
from harness.store import Store, Stage, Terms
import json
terms = Terms(interval=0.05, patience=0.6, poll=0.02)
store = Store(sys.argv[1], terms)
stage = Stage.from_json(json.loads(sys.argv[2]))
work = store.open(stage)
work.write_bytes("scratch/checkpoint", b"one")
print("ready", flush=True)
time.sleep(600)
"""


def test_a_living_workers_scratch_is_kept_and_a_dead_ones_goes(
    store: Store, stage: Stage, script: Callable[..., object]
) -> None:
    process = script(WORKER, store.root, json.dumps(stage.to_json()))
    found = find(store, set())
    assert found.items == ()
    assert found.busy == {stage.id}
    # One that began between the look and the removal is seen by its lease.
    late = Garbage((Item("orphans", store.path(stage), 1, stage.id),))
    assert [item.kind for item in remove(store, late).kept] == ["orphans"]
    assert (store.path(stage) / "scratch" / "checkpoint").exists()
    process.kill()  # type: ignore[attr-defined]
    process.wait()  # type: ignore[attr-defined]
    assert kinds(find(store, set())) == {"orphans": 1}
    assert len(remove(store, find(store, set())).removed) == 1
    assert not store.path(stage).exists()


def test_what_a_living_worker_reads_is_kept(store: Store) -> None:
    first = make("a")
    finish(store, first)
    other = make("c")
    finish(store, other)
    work = store.open(make("b", model=first))
    found = find(store, set())
    assert [item.stage for item in found.items] == [other.id]
    assert work.attempt == 1


@pytest.mark.parametrize("stirs", [True, False])
def test_workers_elsewhere_live_while_their_heartbeat_changes(store: Store, stage: Stage, stirs: bool) -> None:
    begin(store, stage)
    folder = store.root / "leases" / stage.id
    for path in folder.iterdir():
        path.unlink()
    dead_lease(store, stage, host="n7", job="5_0")
    ended = threading.Event()

    def beat() -> None:
        number = 8
        while not ended.wait(0.1):
            number += 1
            (folder / "1.beat").write_text(f"{number:012d} {0:016.3f}\n")  # its clock says nothing

    thread = threading.Thread(target=beat)
    if stirs:
        thread.start()
    told: list[int] = []
    try:
        found = find(store, set(), on_wait=lambda number, seconds: told.append(number))
    finally:
        ended.set()
        if stirs:
            thread.join()
    assert told == [1]
    assert kinds(found) == ({} if stirs else {"orphans": 1})
    assert found.busy == ({stage.id} if stirs else set())
    assert len(remove(store, found).removed) == (0 if stirs else 1)


def test_what_is_finished_or_named_in_between_is_kept(store: Store) -> None:
    first, second, third = make("a"), make("b"), make("c")
    for stage in (first, second):
        begin(store, stage)
    finish(store, third)
    found = find(store, set())
    assert kinds(found) == {"orphans": 2, "unnamed": 1}
    store.open(first).finish()
    disposal = remove(store, found, second, third)
    assert disposal.removed == []
    assert len(disposal.kept) == 3
    assert store.is_done(first)
    assert store.is_done(third)
    assert (store.path(second) / "scratch").exists()


def test_a_batch_that_was_being_written_is_kept(store: Store, stage: Stage) -> None:
    folder = store.root / "batches" / "0123456789ab"
    folder.mkdir(parents=True)
    found = find(store, set())
    assert kinds(found) == {"temporary": 1}
    (folder / "batch.json").write_text("{}")
    assert len(remove(store, found).kept) == 1
    assert folder.exists()


def furnish(store: Store) -> tuple[list[Stage], list[Stage]]:
    """A store with something of everything; returns the stages that are named, and the others."""
    done, begun, orphan, unnamed, broken = (make(name) for name in "abcde")
    late_scratch(finish(store, done))
    dead_lease(store, done)
    begin(store, begun)
    begin(store, orphan)
    finish(store, unnamed)
    finish(store, broken)
    store.set_aside(broken, "it is damaged")
    batches = Batches(store.root)
    batches.accepted(batches.add({0: done}, {}), "7")
    return [done, begun], [orphan, unnamed]


def killed_at(step: int, act: Callable[[], object]) -> bool:
    """Runs ``act`` in a process that dies without a word before its ``step``-th change to the disk; whether it did."""
    pid = os.fork()
    if pid == 0:
        left = step

        def counted(name: str) -> None:
            real = getattr(os, name)

            def call(*arguments: object, **options: object) -> object:
                nonlocal left
                left -= 1
                if left < 0:
                    os._exit(9)
                return None if name == "fsync" else real(*arguments, **options)

            setattr(os, name, call)

        for name in ("rename", "replace", "unlink", "rmdir", "link", "mkdir", "fsync"):
            counted(name)
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, 9), "the removal failed by itself"
    return status == 9


def test_killed_at_any_moment_nothing_half_removed_looks_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terms = Terms(interval=0.05, patience=0.6, poll=0.02)
    template = tmp_path / "template"
    named, others = furnish(Store(template, terms))
    ids = {stage.id for stage in named}
    whole = {path.relative_to(template).as_posix(): files(path) for path in template.rglob("*") if path.is_dir()}

    def collect(root: Path) -> None:
        store = Store(root, terms)
        dispose(store, find(store, ids, list(Batches(root))), lambda: ids)

    step, killed = 0, True
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # most of the time
    while killed:
        root = tmp_path / f"killed{step}"
        shutil.copytree(template, root)
        killed = killed_at(step, lambda root=root: collect(root))  # type: ignore[misc]
        store = Store(root, terms)
        store.outputs(named[0])
        for stage in others:
            if store.find(stage.id) is not None and store.is_done(stage):
                store.outputs(stage)
        one_piece = [path for place in ("stages/train", "damaged", "batches") for path in (root / place).glob("*")]
        for path in [
            *filter(Path.is_dir, one_piece),
            root / "stages" / "train" / store.path(named[0]).name / "scratch",
        ]:
            name = path.relative_to(root).as_posix()
            if path.exists():
                now = {each: data for each, data in files(path).items() if not each.startswith("scratch/")}
                before = {each: data for each, data in whole[name].items() if not each.startswith("scratch/")}
                assert now == before, (step, name)
        scratch = store.path(named[1]).relative_to(root).as_posix() + "/scratch"
        assert files(root / scratch) == whole[scratch], step
        collect(root)
        assert find(store, ids, list(Batches(root))).items == (), step
        assert not (root / "trash").exists() or list((root / "trash").iterdir()) == []
        shutil.rmtree(root)
        step += 1
    assert step > 40


def test_two_at_once_share_the_work(store: Store) -> None:
    named, _ = furnish(store)
    found = find(store, {stage.id for stage in named}, list(Batches(store.root)))
    disposals: list[Disposal] = []
    stores = [Store(store.root, store.terms) for _ in range(2)]
    threads = [threading.Thread(target=lambda s=each: disposals.append(remove(s, found, *named))) for each in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.refused for each in disposals] == [[], []]
    assert sum(len(each.removed) for each in disposals) >= len(found.items)
    assert find(store, {stage.id for stage in named}).items == ()
    store.outputs(named[0])


def test_nobody_submits_while_it_moves(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    named, _ = furnish(store)
    seen: list[bool] = []

    def names() -> set[str]:
        held = holder(store.root / "leases" / "submission")
        seen.append(held is not None and held.owner.is_this_process)
        return {stage.id for stage in named}

    dispose(store, find(store, names()), names)
    assert seen == [False, True]
    assert holder(store.root / "leases" / "submission") is None


@pytest.mark.parametrize("seed", range(12))
def test_whatever_lies_there_what_is_named_stays_whole(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    store = Store(tmp_path / "store", Terms(interval=0.05, patience=0.3, poll=0.02))
    named: list[Stage] = []
    held = []
    expected: dict[str, dict[str, bytes]] = {}
    for number in range(14):
        stage = make(f"s{number}")
        is_named, state = dice.random() < 0.5, dice.choice(("done", "late", "begun", "held", "lost"))
        if state in ("done", "late"):
            folder = finish(store, stage)
        elif state == "begun":
            folder = begin(store, stage)
        elif state == "lost":
            folder = begin(store, stage)
            dead_lease(store, stage, host=dice.choice(("n7", Owner.current().host)))
        else:
            work = store.open(stage)
            work.write_bytes("scratch/checkpoint", b"x" * number)
            held.append(work)
            folder = work.directory
        if is_named:
            named.append(stage)
        if is_named or state == "held":
            expected[stage.id] = files(folder)
        if state == "late":
            late_scratch(folder)
            dead_lease(store, stage)
    disposal = remove(store, find(store, {stage.id for stage in named}), *named)
    assert disposal.refused == []
    again = Store(store.root, store.terms)
    for stage_id, content in expected.items():
        folder = again.find(stage_id)
        assert folder is not None
        assert files(folder) == content
        if again.is_done(stage_id):
            again.outputs(stage_id)
    assert {path.name[-16:] for path in (store.root / "stages" / "train").iterdir()} == set(expected)
    for work in held:
        work.finish()  # their leases have not been touched
