from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from harness.store import Owner


def owner_of(pid: int) -> Owner:
    from harness.store.owner import _start_time

    return replace(Owner.current(), pid=pid, start=_start_time(pid) or 0)


def test_a_process_knows_itself() -> None:
    owner = Owner.current("123")
    assert owner.is_alive() is True
    assert owner.is_this_process
    assert "job 123" in str(owner)
    assert Owner.from_json(owner.to_json()) == owner
    assert Owner.current().token != owner.token


def test_a_process_is_alive_until_it_is_killed_even_uncollected() -> None:
    """Between the kill and the parent's wait, a zombie keeps the id and the start time."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        owner = owner_of(process.pid)
        assert owner.is_alive() is True
        assert not owner.is_this_process
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, not collected
        assert owner.is_alive() is False
    finally:
        process.kill()
        process.communicate()
    assert owner.is_alive() is False


def test_another_process_with_the_same_id_is_another_process() -> None:
    owner = Owner.current()
    assert replace(owner, start=owner.start - 1).is_alive() is False


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"boot": "another"}, {"namespace": "pid:[1]"}])
def test_of_a_process_elsewhere_nothing_is_claimed(change: dict[str, str]) -> None:
    assert replace(Owner.current(), **change).is_alive() is None
    assert replace(Owner.current(), pid=2**22 - 1, **change).is_alive() is None


def test_a_command_name_with_parentheses_does_not_confuse() -> None:
    code = "import ctypes; ctypes.CDLL(None).prctl(15, b'a) Z 1 (b'); print('ready', flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert owner_of(process.pid).start > 0
        assert owner_of(process.pid).is_alive() is True
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("value", [None, {}, {"pid": 1}, {**Owner.current().to_json(), "pid": "x"}, [1]])
def test_what_is_no_owner_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="not an owner"):
        Owner.from_json(value)
