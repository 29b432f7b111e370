"""What ranks tell each other, and what the host learns of a guest that fails: whatever either is doing meanwhile."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist

from harness.distributed import meeting
from harness.distributed.board import Board
from harness.distributed.failures import RankLost
from harness.distributed.meeting import Host

# Takes part in one round, fails in it as it is told to, and says what it was waiting for when its host went.
GUEST = """
import sys
import torch.distributed as dist
from harness.distributed.meeting import Guest, HostGone

guest = Guest(["127.0.0.1"], int(sys.argv[1]), sys.argv[2], 1, 1)
words = {"reason": "no memory", "retryable": True, "out_of_memory": True, "storage_full": False}
try:
    for number, order in guest.orders():
        def do():
            if order["error"] == "own":
                raise MemoryError
            if order["error"] == "network":
                raise dist.DistBackendError("NCCL error, Cuda failure 2 'out of memory'")
        try:
            guest.work(number, order, do)
        except HostGone:
            raise
        except Exception as error:
            guest.failed(number, words, error)
except HostGone:
    sys.exit(3)
"""


@pytest.fixture
def host() -> Host:
    return Host(2)


@pytest.fixture
def guest(host: Host) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", GUEST, str(host.port), host.key])
    yield process
    process.kill()
    process.wait()


def never() -> None:
    """The guest's process is alive."""


def unexpected(lost: RankLost) -> None:
    pytest.fail(f"given up: {lost}")


def round_of(host: Host, error: str, body: Callable[[], object]) -> None:
    with host.working({"error": error}, never, unexpected):
        body()


def test_what_is_not_sealed_with_the_key_has_not_been_said() -> None:
    server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    ours, again, others = Board(server, "secret"), Board(server, "secret"), Board(server, "guessed")
    ours.tell("round/0", {"stage": "a"})
    assert again.read("round/0") == {"stage": "a"}
    assert not others.has("round/0")
    others.tell("round/1", {"stage": "b"})
    assert not ours.has("round/1")
    with pytest.raises(KeyError):
        ours.read("round/1")
    raw = dist.PrefixStore("board", server)
    raw.set("round/2", raw.get("round/0"))  # under another name
    assert not ours.has("round/2")
    raw.set("round/3", b"\xff\xfe")
    assert not ours.has("round/3")
    names = server.list_keys() if hasattr(server, "list_keys") else []
    assert not [name for name in names if "secret" in name]


def test_rounds_follow_each_other(host: Host, guest: subprocess.Popen[bytes]) -> None:
    for _ in range(2):
        round_of(host, "", lambda: None)
    host.end()
    assert guest.wait(20) == 0


def test_a_guest_that_fails_is_heard_by_a_busy_host(host: Host, guest: subprocess.Popen[bytes]) -> None:
    def busy() -> None:
        time.sleep(3)
        dist.all_reduce(torch.ones(1))

    with pytest.raises(RankLost, match="rank 1: no memory") as caught:
        round_of(host, "own", busy)
    assert caught.value.out_of_memory
    round_of(host, "", lambda: None)  # it waited for the next


def test_a_host_that_hangs_is_given_up(
    host: Host, guest: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meeting, "GRACE_SECONDS", 1.0)
    given_up = threading.Event()
    found: list[RankLost] = []

    def give_up(lost: RankLost) -> None:
        found.append(lost)
        given_up.set()

    with host.working({"error": "own"}, never, give_up):
        assert given_up.wait(30)
    assert (found[0].reason, found[0].out_of_memory) == ("rank 1: no memory", True)


def test_an_error_of_the_network_itself_is_told(
    host: Host, guest: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meeting, "LAST_WORDS_SECONDS", 3.0)
    with pytest.raises(RankLost, match="rank 1: no memory") as caught:
        round_of(host, "network", lambda: dist.all_reduce(torch.ones(1)))
    assert caught.value.out_of_memory


def test_a_guest_ends_with_its_host() -> None:
    code = (
        "import sys, time\nfrom harness.distributed.meeting import Host\nhost = Host(2)\n"
        "print(host.port, host.key, flush=True)\ntime.sleep(600)"
    )
    host = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    port, key = host.stdout.readline().split()
    guest = subprocess.Popen([sys.executable, "-c", GUEST, port, key])
    time.sleep(5)
    host.kill()
    host.communicate()
    assert guest.wait(30) == 3


def test_losses_are_told_from_other_errors() -> None:
    cases: list[tuple[Any, bool]] = [
        (RuntimeError("Connection closed by peer [127.0.0.1]:3"), True),
        (dist.DistNetworkError("timed out"), True),
        (RuntimeError("shapes do not match"), False),
        (MemoryError(), False),
        (ValueError("gloo"), False),
    ]
    assert [meeting.is_loss(error) for error, _ in cases] == [expected for _, expected in cases]
