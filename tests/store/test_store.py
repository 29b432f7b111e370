from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.store import Busy, DamagedStage, Held, Stage, StorageFull, Store, Terms


def finish(store: Store, stage: Stage, **files: bytes) -> Path:
    with store.open(stage) as work:
        for name, data in files.items():
            work.write_bytes(name, data)
        work.finish(summary={"score": 1})
    return work.directory


def test_a_stage_is_done_when_it_is_finished_and_not_before(store: Store, stage: Stage) -> None:
    assert not store.is_done(stage)
    assert not store.is_done(stage.id)
    assert store.find(stage.id) is None
    assert not store.root.exists()  # asking creates nothing
    work = store.open(stage)
    work.write_bytes("a", b"1")
    assert not store.is_done(stage)
    work.finish()
    assert store.is_done(stage)
    assert store.is_done(stage.id)
    assert store.outputs(stage).path("a").read_bytes() == b"1"
    assert store.stage(stage.id) == stage
    with pytest.raises(HarnessError, match="no output 'b'"):
        store.outputs(stage).path("b")


def test_outputs_of_an_unfinished_stage_are_an_error(store: Store, stage: Stage) -> None:
    with pytest.raises(HarnessError, match="not finished"):
        store.outputs(stage)


def test_inputs_have_to_be_done_and_are_found(store: Store, stage: Stage) -> None:
    user = Stage("evaluate", 1, {}, inputs={"model": stage.id})
    with pytest.raises(HarnessError, match=f"needs stage {stage.id} as its model"):
        store.open(user)
    directory = finish(store, stage, weights=b"w")
    with store.open(user) as work:
        assert work.input("model") == directory
        work.finish()


def test_the_first_name_of_a_stage_stays(store: Store, stage: Stage) -> None:
    path = store.register(stage)
    renamed = replace(stage, slug="baseline")
    assert store.register(renamed) == path
    assert Store(store.root).register(renamed) == path
    assert Store(store.root).path(renamed) == path.parent


def test_processes_that_name_a_stage_at_once_agree(store: Store, stage: Stage) -> None:
    for number in range(30):
        found: list[Path] = []
        barrier = threading.Barrier(6)

        def register(slug: str, number: int = number, found: list[Path] = found, barrier: Any = barrier) -> None:
            mine = Stage("train", 1, {"number": number}, slug=slug)
            barrier.wait()
            found.append(Store(store.root).register(mine))

        threads = [threading.Thread(target=register, args=(f"slug{index}",)) for index in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == found[:1] * 6
    assert len(list((store.root / "stages" / "train").iterdir())) == 30


def test_data_that_moved_is_found_by_the_next_attempt(store: Store, stage: Stage) -> None:
    store.register(replace(stage, location={"data": "/old"}))
    assert not store.is_done(stage)
    moved = replace(stage, location={"data": "/new"})
    store.register(moved)
    assert store.stage(stage.id).location == {"data": "/new"}
    finish(store, moved)
    store.register(replace(stage, location={"data": "/later"}))
    assert store.stage(stage.id).location == {"data": "/new"}  # where it was computed


def test_stages_alone_make_a_store(store: Store, stage: Stage, tmp_path: Path) -> None:
    finish(store, stage, a=b"1")
    copy = tmp_path / "copy"
    shutil.copytree(store.root / "stages", copy / "stages")
    assert Store(copy).outputs(stage).path("a").read_bytes() == b"1"
    other = Stage("train", 1, {"other": True})
    finish(Store(copy), other)
    assert Store(copy).is_done(other)


def test_a_worker_needs_only_the_path_of_the_spec(store: Store, stage: Stage, tmp_path: Path) -> None:
    found, same = Store.of_spec(store.register(stage))
    assert (found.root, same) == (store.root, stage)
    for path in (tmp_path / "stage.json", tmp_path / "stages" / "train" / "x" / "stage.json"):
        with pytest.raises(HarnessError) as caught:
            Store.of_spec(path)
        assert caught.value.remedy


# Damage


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_record_cut_short_is_said_and_repaired(store: Store, stage: Stage, keep: float) -> None:
    directory = finish(store, stage, a=b"1")
    edit(directory / "done.json", lambda data: data[: int(len(data) * keep)])
    for look in (store.is_done, store.outputs, store.open):
        with pytest.raises(DamagedStage, match="cut short") as caught:
            look(stage)
        assert str(directory / "done.json") in caught.value.message
        assert "--repair" in caught.value.remedy
    (moved,) = store.repair([stage])
    assert moved.path.is_dir()
    assert not store.is_done(stage)
    finish(store, stage, a=b"1")
    assert store.is_done(stage)
    assert store.repair([stage]) == []


def test_any_changed_byte_of_a_record_is_noticed(store: Store, stage: Stage) -> None:
    directory = finish(store, stage, a=b"1")
    path = directory / "done.json"
    whole = path.read_bytes()
    noticed = 0
    for position in random.Random(0).sample(range(len(whole)), 60):
        changed = bytearray(whole)
        changed[position] ^= 1
        path.write_bytes(changed)
        try:
            store.record(stage)
        except HarnessError:
            noticed += 1
        else:  # a change of the white space between the values changes nothing
            assert json.loads(bytes(changed)) == json.loads(whole)
    assert noticed > 30


def test_a_record_of_another_stage_is_noticed(store: Store, stage: Stage) -> None:
    other = Stage("train", 1, {"steps": 4})
    directory = finish(store, stage)
    shutil.copy(finish(store, other) / "done.json", directory / "done.json")
    with pytest.raises(DamagedStage, match="belongs to stage"):
        store.is_done(stage)
    with pytest.raises(DamagedStage, match="belongs to stage"):
        Store(store.root).is_done(stage.id)


def test_damaged_parquet_is_noticed_before_it_is_read(store: Store, stage: Stage) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    with store.open(stage) as work:
        parquet.write_table(pyarrow.table({"score": [0.0, 1.0] * 500}), work.directory / "scores.parquet")
        work.finish()
    path = work.directory / "scores.parquet"
    whole = path.read_bytes()
    middle = len(whole) // 2
    damages = {
        "bytes, .* were written": whole[:-1],
        "checksums differ": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
    }
    for words, data in damages.items():
        path.write_bytes(data)
        fresh = Store(store.root)
        assert fresh.is_done(stage)  # cheap: outputs are verified when they are read
        with pytest.raises(DamagedStage, match=words) as caught:
            fresh.outputs(stage)
        assert caught.value.file == path
        user = Stage("evaluate", 1, {}, inputs={"model": stage.id})
        with pytest.raises(DamagedStage, match=r"scores\.parquet"), fresh.open(user) as other:
            other.input("model")
    path.write_bytes(whole)
    assert Store(store.root).outputs(stage)


def test_outputs_that_went_are_noticed(store: Store, stage: Stage, tmp_path: Path) -> None:
    path = finish(store, stage, a=b"1") / "a"
    path.unlink()
    with pytest.raises(DamagedStage, match="missing"):
        Store(store.root).outputs(stage)
    (tmp_path / "elsewhere").write_bytes(b"1")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedStage, match="link"):
        Store(store.root).outputs(stage)


def test_one_output_is_verified_alone(store: Store, stage: Stage, tmp_path: Path) -> None:
    """Whoever wants the scores need not hash the weights; what is read is what was written, or an error."""
    folder = finish(store, stage, a=b"1", b=b"2")
    (folder / "b").write_bytes(b"3")
    found = store.record(stage)
    assert found is not None
    assert store.content(found, "a") == b"1"
    with pytest.raises(DamagedStage, match="checksums differ"):
        store.content(found, "b")
    (folder / "b").write_bytes(b"22")
    with pytest.raises(DamagedStage, match="it has 2 bytes, 1 were written"):
        store.content(found, "b")
    (folder / "b").unlink()
    with pytest.raises(DamagedStage, match="missing"):
        store.content(found, "b")
    (tmp_path / "elsewhere").write_bytes(b"2")
    (folder / "b").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedStage, match="link"):
        store.content(found, "b")
    with pytest.raises(HarnessError, match="no output 'c'"):
        store.content(found, "c")
    store.set_aside(stage, "for the test")
    with pytest.raises(HarnessError, match="has no stage"):
        store.content(found, "a")


def test_an_output_below_a_linked_folder_is_refused(store: Store, stage: Stage, tmp_path: Path) -> None:
    with store.open(stage) as work:
        (work.directory / "below").mkdir()
        (work.directory / "below" / "a").write_bytes(b"1")
        work.finish()
    found = store.record(stage)
    assert found is not None
    assert store.content(found, "below/a") == b"1"
    (work.directory / "below").rename(tmp_path / "below")
    (work.directory / "below").symlink_to(tmp_path / "below")
    with pytest.raises(DamagedStage, match="link"):
        store.content(found, "below/a")


def test_a_finished_again_stage_is_verified_again(store: Store, stage: Stage) -> None:
    finish(store, stage, a=b"1")
    store.outputs(stage)
    Store(store.root).set_aside(stage, "for the test")
    path = finish(Store(store.root), stage, a=b"2") / "a"
    path.write_bytes(b"3")
    with pytest.raises(DamagedStage):
        store.outputs(stage)


def test_a_config_that_differs_is_shown(store: Store, stage: Stage) -> None:
    path = store.register(stage)
    spec = json.loads(path.read_text())
    spec["config"]["rate"]["vision"] = 1e-3
    path.write_text(json.dumps(spec))
    for look in (store.register, store.open):
        with pytest.raises(DamagedStage, match=r"config.rate.vision: 0.001 → 0.0001"):
            look(stage)
    path.unlink()
    finish(store, stage)
    path.write_text(json.dumps(spec))
    with pytest.raises(DamagedStage, match=r"config.rate.vision: 0.001 → 0.0001"):
        store.is_done(stage)
    assert [moved.id for moved in store.repair([stage])] == [stage.id]
    finish(store, stage)


def test_a_stage_in_the_folder_of_another_is_shown(store: Store, stage: Stage) -> None:
    other = replace(stage, config={"steps": 4})
    path = store.register(stage)
    path.write_text(json.dumps(other.to_json()))
    with pytest.raises(DamagedStage, match=r"config.steps: 4 → 3"):
        store.open(stage)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"kind": "train"}'])
def test_a_spec_cut_short_is_noticed_and_repaired(store: Store, stage: Stage, data: bytes) -> None:
    path = finish(store, stage) / "stage.json"
    path.write_bytes(data)
    with pytest.raises(DamagedStage, match=r"stage\.json"):
        store.is_done(stage)
    assert len(store.repair([stage])) == 1
    assert not store.is_done(stage)


def test_a_spec_that_went_is_noticed(store: Store, stage: Stage) -> None:
    (finish(store, stage) / "stage.json").unlink()
    for look in (store.is_done, store.open):
        with pytest.raises(DamagedStage, match="missing"):
            look(stage)


def test_repairing_touches_only_what_is_damaged(store: Store) -> None:
    stages = [Stage("train", 1, {"number": number}) for number in range(3)]
    folders = [finish(store, stage, a=b"1") for stage in stages]
    user = Stage("evaluate", 1, {}, inputs={"model": stages[1].id})
    finish(store, user)
    (folders[1] / "a").write_bytes(b"2")
    (moved,) = store.repair([*stages, user, Stage("train", 1, {"never": "run"})])
    assert moved.id == stages[1].id
    assert "checksums differ" in moved.reason
    assert [store.is_done(stage) for stage in [*stages, user]] == [True, False, True, True]


def test_a_stage_at_work_is_not_set_aside(store: Store, stage: Stage) -> None:
    work = store.open(stage)
    with pytest.raises(Busy, match="being worked on"):
        store.set_aside(stage, "no")
    work.finish()
    store.set_aside(stage, "yes")
    store.open(stage).finish()
    assert len({store.set_aside(stage, "again").path, *store.root.glob("damaged/*")}) == 2


# Strangers


def test_links_out_of_the_store_are_refused(store: Store, stage: Stage, tmp_path: Path) -> None:
    directory = finish(store, stage)
    shutil.move(directory, tmp_path / "outside")
    directory.symlink_to(tmp_path / "outside")
    with pytest.raises(HarnessError, match="leads out of the store"):
        Store(store.root).is_done(stage)


def test_nothing_is_created_through_a_link_out_of_the_store(store: Store, stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (store.root / "stages").mkdir(parents=True)
    (store.root / "stages" / "train").symlink_to(tmp_path / "outside")
    with pytest.raises(HarnessError, match="leads out of the store"):
        store.open(stage)
    assert not list((tmp_path / "outside").iterdir())


def test_the_store_itself_may_be_a_link(store: Store, stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    store.root.symlink_to(tmp_path / "scratch")
    finish(store, stage)
    assert store.is_done(stage)


@pytest.mark.parametrize("text", ["../../../outside/ID", "train/../ID", "/etc/ID", "", "train", "a/b/ID", "train/.ID"])
def test_a_name_that_leads_elsewhere_is_ignored(store: Store, stage: Stage, tmp_path: Path, text: str) -> None:
    (tmp_path / "outside" / stage.id).mkdir(parents=True)
    names = store.root / "names"
    names.mkdir(parents=True)
    (names / stage.id).write_text(text.replace("ID", stage.id))
    assert store.find(stage.id) is None
    finish(store, stage)
    assert store.find(stage.id) == store.root / "stages" / "train" / stage.name
    assert Store(store.root).is_done(stage)


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../../b", "./a"])
def test_a_record_that_names_files_elsewhere_is_refused(store: Store, stage: Stage, name: str) -> None:
    from harness.store import record

    directory = finish(store, stage, a=b"1")
    content = json.loads((directory / "done.json").read_text())
    content["outputs"] = {name: content["outputs"]["a"]}
    del content["checksum"]
    content["checksum"] = record._checksum(content)
    (directory / "done.json").write_text(json.dumps(content))
    with pytest.raises(DamagedStage, match="outside of the stage"):
        store.outputs(stage)


@pytest.mark.parametrize("stage_id", ["", "..", "../../etc", "xyz", "0" * 15, "A" * 16])
def test_what_is_no_id_is_refused(store: Store, stage_id: str) -> None:
    for look in (store.find, store.is_done, store.holder, store.stage):
        with pytest.raises(HarnessError, match="not a stage id"):
            look(stage_id)


# Bad places


def test_a_root_that_is_a_file_is_said_clearly(tmp_path: Path, stage: Stage) -> None:
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file")
    assert not store.is_done(stage)
    with pytest.raises(HarnessError, match="is a file where the store needs a folder"):
        store.open(stage)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_root_that_is_not_writable_is_said_clearly(tmp_path: Path, stage: Stage) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(HarnessError, match="cannot be written"):
        Store(tmp_path / "store").open(stage)


def test_a_full_disk_leaves_everything_resumable(small_disk: Path, terms: Terms, stage: Stage) -> None:
    store = Store(small_disk / "store", terms)
    done = Stage("train", 1, {"done": True})
    finish(store, done, a=b"1")
    with pytest.raises(StorageFull, match="full"), store.open(stage) as work:  # noqa: PT012
        work.write_bytes("scratch/step1", b"1")
        work.write_bytes("scratch/step2", b"x" * 1_000_000)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"), open(filler, "wb", buffering=0) as file:  # noqa: PT012
        while True:
            file.write(b"x" * 512)
    with pytest.raises(StorageFull):
        store.open(Stage("train", 1, {"new": True}))
    assert store.outputs(done).path("a").read_bytes() == b"1"
    filler.unlink()
    with store.open(stage) as work:
        assert [path.name for path in work.scratch.iterdir()] == ["step1"]
        work.finish()
    assert store.is_done(stage)


# Several processes

WORKER = """
import json, sys, time
from harness.store import Store, Stage, Terms
store = Store(sys.argv[1], Terms(interval=0.05, poll=0.02))
stage = Stage.from_json(json.loads(sys.argv[2]))
print("ready", flush=True)
with store.open(stage) as work:
    if work.finished is None:
        with open(sys.argv[3], "a") as journal:
            journal.write("computed\\n")
        time.sleep(0.3)
        work.write_bytes("a", b"1")
        work.finish()
assert store.outputs(stage).path("a").read_bytes() == b"1"
"""


def test_processes_on_the_same_stage_compute_it_once(store: Store, stage: Stage, tmp_path: Path, script: Any) -> None:
    arguments = (store.root, json.dumps(stage.to_json()), tmp_path / "journal")
    processes = [script(WORKER, *arguments, wait=False) for _ in range(4)]
    assert [process.wait(timeout=100) for process in processes] == [0] * 4
    assert (tmp_path / "journal").read_text() == "computed\n"
    assert not list((store.root / "leases").iterdir())


HOLDER = """
import json, sys, time
from harness.store import Store, Stage
work = Store(sys.argv[1]).open(Stage.from_json(json.loads(sys.argv[2])))
print("ready", flush=True)
time.sleep(60)
"""


def test_a_stage_held_by_a_living_process_is_waited_for_and_taken_when_it_dies(
    store: Store, stage: Stage, script: Any
) -> None:
    process = script(HOLDER, store.root, json.dumps(stage.to_json()))
    with pytest.raises(Busy, match=f"process {process.pid}"):
        store.open(stage, wait=False)
    told: list[Held] = []
    threading.Timer(0.5, process.kill).start()
    began = time.monotonic()
    with store.open(stage, on_wait=told.append) as work:
        assert work.finished is None
        assert work.attempt == 2
        assert time.monotonic() - began > 0.4
        work.finish()
    assert [held.owner.pid for held in told] == [process.pid]


def test_opening_twice_in_one_process_is_an_error_and_no_deadlock(store: Store, stage: Stage) -> None:
    work = store.open(stage)
    with pytest.raises(RuntimeError, match="already open"):
        store.open(stage)
    work.finish()


def test_one_at_a_time_in_an_exclusive_body(store: Store) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        with Store(store.root, store.terms).exclusive("submission"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.02)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_the_store_and_the_launchers_start_light() -> None:
    """They are imported by every command, also by ``--help``."""
    code = (
        "import sys, harness.store, harness.launch.local, harness.launch.slurm, harness.launch.status\n"
        "heavy = {'torch', 'transformers', 'pandas', 'scipy', 'numpy', 'pyarrow', 'submitit', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_an_outcome_is_told_without_a_look_beside_it(store: Store, stage: Stage) -> None:
    assert store.outcome(stage) is None
    folder = finish(store, stage, a=b"1")
    (folder / "stage.json").unlink()
    found = store.outcome(stage)
    assert found is not None
    assert found.outcome == "complete"
    (folder / "done.json").write_text("{")
    with pytest.raises(DamagedStage):
        store.outcome(stage)
