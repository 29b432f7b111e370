from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.store import Held, LeaseLost, Owner, Store, Terms
from harness.store.lease import Lease, Watch, holder
from harness.store.workers import busy

HOLDER = """
import sys, time
from pathlib import Path
from harness.store import Terms
from harness.store.lease import Lease
lease = Lease.acquire(Path(sys.argv[1]), "it", Terms(interval=0.05))
assert isinstance(lease, Lease)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "lease"


def take(folder: Path, terms: Terms, **options: Any) -> Lease:
    lease = Lease.acquire(folder, "it", terms, **options)
    assert isinstance(lease, Lease)
    return lease


def elsewhere(folder: Path, generation: int = 1, job: str = "") -> None:
    """Makes the lease look as if a process of another host held it."""
    folder.mkdir(exist_ok=True)
    owner = {**Owner.current(job).to_json(), "host": "elsewhere"}
    (folder / f"{generation}.json").write_text(json.dumps(owner))
    beat(folder, generation, 1)


def beat(folder: Path, generation: int, count: int) -> None:
    (folder / f"{generation}.beat").write_text(f"{count:012d} 0\n")


def test_a_living_holder_keeps_it_and_a_dead_one_loses_it_at_once(folder: Path, script: Any) -> None:
    process = script(HOLDER, folder)
    held = Lease.acquire(folder, "it", Terms())
    assert isinstance(held, Held)
    assert held.owner.pid == process.pid
    process.kill()
    began = time.monotonic()
    while isinstance(Lease.acquire(folder, "it", Terms()), Held):  # dead, and never collected by this process
        assert time.monotonic() - began < 60  # half of the patience with one whose death is only inferred


def test_a_used_again_process_id_is_not_the_holder(folder: Path, terms: Terms) -> None:
    elsewhere(folder)
    owner = Owner.current().to_json()
    (folder / "1.json").write_text(json.dumps({**owner, "start": owner["start"] - 7}))
    take(folder, terms).release()


def test_a_released_one_is_free_and_a_finished_one_leaves_nothing(folder: Path, terms: Terms) -> None:
    lease = take(folder, terms)
    assert isinstance(Lease.acquire(folder, "it", terms), Held)
    lease.release()
    assert holder(folder) is None
    lease = take(folder, terms)
    lease.release(finished=True)
    assert not folder.exists()
    lease.release()  # once more does no harm


def test_past_holdings_do_not_pile_up(folder: Path, terms: Terms) -> None:
    for _ in range(10):
        take(folder, terms).release()
    assert len(list(folder.iterdir())) <= 3


def test_a_holder_elsewhere_is_believed_as_long_as_its_heart_beats(folder: Path) -> None:
    terms = Terms(patience=1.5)
    elsewhere(folder)
    watch = Watch(folder, "", terms)
    for count in range(2, 12):
        beat(folder, 1, count)
        assert watch.look() is not None
        time.sleep(0.2)
    began = time.monotonic()
    while watch.look() is not None:
        time.sleep(0.01)
    assert time.monotonic() - began > terms.patience * 0.7
    passed_on = Watch(folder, "", Terms(), watch.presumed_dead)
    assert passed_on.look() is None
    take(folder, terms, watch=watch).release()


def test_a_first_look_at_a_holder_elsewhere_proves_nothing(folder: Path, terms: Terms) -> None:
    elsewhere(folder)
    beat(folder, 1, 5)
    time.sleep(terms.patience)
    assert isinstance(Lease.acquire(folder, "it", terms), Held)


def test_a_requeued_job_waits_less_for_its_former_self(folder: Path) -> None:
    terms = Terms(patience=600.0, patience_same_job=0.3)
    elsewhere(folder, job="12")
    same, other = Watch(folder, "12", terms), Watch(folder, "13", terms)
    assert same.look()
    assert other.look()
    time.sleep(terms.patience_same_job * 1.2)
    assert same.look() is None
    assert other.look()


def test_one_that_was_taken_over_says_so(folder: Path, terms: Terms) -> None:
    lease = take(folder, terms)
    lease.check()
    elsewhere(folder, generation=2)
    with pytest.raises(LeaseLost):
        lease.check()
    lease.release(finished=True)
    assert (folder / "2.json").exists()  # what is another's stays
    assert holder(folder) is not None


def test_the_heartbeat_notices_by_itself(folder: Path, terms: Terms) -> None:
    lease = take(folder, terms)
    elsewhere(folder, generation=2)
    lease._thread.join(60)
    assert not lease._thread.is_alive()
    with pytest.raises(LeaseLost):
        lease.check()


def test_the_heart_beats(folder: Path, terms: Terms) -> None:
    lease = take(folder, terms)
    first = holder(folder)
    assert first
    end = time.monotonic() + 60
    while (later := holder(folder)) and later.beat < first.beat + 2:
        assert time.monotonic() < end
        time.sleep(terms.interval)
    assert later
    lease.release()


def test_a_slow_thief_does_not_rob_the_next_holder(folder: Path, terms: Terms, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has judged the old holder dead; before it acts, another process takes the lease."""
    elsewhere(folder)
    owner = Owner.current().to_json()
    (folder / "1.json").write_text(json.dumps({**owner, "start": 1}))  # dead
    faster: list[Lease] = []
    look = Watch.look

    def slow(self: Watch) -> Held | None:
        verdict = look(self)
        if not faster:
            monkeypatch.setattr(Watch, "look", look)
            faster.append(take(folder, terms))
        return verdict

    monkeypatch.setattr(Watch, "look", slow)
    slower = Lease.acquire(folder, "it", terms)
    assert isinstance(slower, Held)
    assert slower.owner == faster[0].owner
    faster[0].check()


def test_a_thief_slower_than_two_others_does_not_believe_to_hold(
    folder: Path, terms: Terms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number it tries has been taken, given back and cleared away."""
    elsewhere(folder)
    (folder / "1.json").write_text(json.dumps({**Owner.current().to_json(), "start": 1}))
    look = Watch.look
    current: list[Lease] = []

    def slow(self: Watch) -> Held | None:
        verdict = look(self)
        if not current:
            monkeypatch.setattr(Watch, "look", look)
            take(folder, terms).release()
            current.append(take(folder, terms))
            assert not (folder / "2.json").exists()
        return verdict

    monkeypatch.setattr(Watch, "look", slow)
    assert isinstance(Lease.acquire(folder, "it", terms), Held)
    current[0].check()


def test_of_many_at_once_one_gets_it(folder: Path, terms: Terms) -> None:
    for _ in range(20):
        barrier = threading.Barrier(8)
        got: list[Lease | Held] = []

        def race(barrier: threading.Barrier = barrier, got: list[Lease | Held] = got) -> None:
            barrier.wait()
            got.append(Lease.acquire(folder, "it", terms))

        threads = [threading.Thread(target=race) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (lease,) = [one for one in got if isinstance(one, Lease)]
        lease.check()
        lease.release()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": 3}'])
def test_a_holding_that_a_power_cut_emptied_is_free(folder: Path, terms: Terms, content: bytes) -> None:
    folder.mkdir()
    (folder / "1.json").write_bytes(content)
    take(folder, terms).release()


def test_what_cannot_be_read_for_a_moment_is_not_free(folder: Path) -> None:
    """EIO, ESTALE and EACCES of a network file system; here the holding is a folder."""
    terms = Terms(patience=0.0, poll=0.0)
    lease = Lease.acquire(folder, "x", Terms())
    assert isinstance(lease, Lease)
    watch = Watch(folder, "", Terms())
    assert isinstance(Lease.acquire(folder, "x", Terms(), watch=watch), Held)
    content = (folder / "1.json").read_bytes()
    (folder / "1.json").unlink()
    (folder / "1.json").mkdir()
    assert isinstance(Lease.acquire(folder, "x", Terms(), watch=watch), Held), "as it was seen last"
    with pytest.raises(OSError, match="directory"):
        Lease.acquire(folder, "x", terms)
    assert busy(folder.parent, [folder.name], terms)[0] == {folder.name}
    (folder / "1.json").rmdir()
    (folder / "1.json").write_bytes(content)
    lease.check()
    lease.release()
    taken = Lease.acquire(folder, "x", Terms(), watch=watch)
    assert isinstance(taken, Lease)
    taken.release()


def test_a_suspended_holder_on_this_machine_expires_by_its_heartbeat(tmp_path: Path) -> None:
    """Its process is there, and stays so; only the heartbeat tells that nobody works."""
    terms = Terms(interval=60.0, patience=0.1, patience_alive=0.4)
    held = Lease.acquire(tmp_path / "lease", "it", terms)
    assert isinstance(held, Lease)
    watch = Watch(tmp_path / "lease", "", terms)
    assert watch.look() is not None
    time.sleep(0.2)
    assert watch.look() is not None, "as long as a process lives it is given more time than one elsewhere"
    time.sleep(0.4)
    assert watch.look() is None
    taken = Lease.acquire(tmp_path / "lease", "it", terms, watch=watch)
    assert isinstance(taken, Lease)
    with pytest.raises(LeaseLost):
        held.check()
    taken.release()


def test_a_store_says_how_long_a_silent_worker_is_waited_for(tmp_path: Path) -> None:
    assert Store(tmp_path).terms == Terms()
    (tmp_path / "lease.json").write_text('{"patience": 300}')
    assert Store(tmp_path).terms == Terms(patience=300.0)
    for text in ("{", "[]", '{"patienc": 1}', '{"patience": "long"}'):
        (tmp_path / "lease.json").write_text(text)
        with pytest.raises(HarnessError, match="cannot be read") as caught:
            Store(tmp_path)
        assert "patience_same_job" in caught.value.remedy
