"""How the processes of a job find together: rank 0 is the host, the others are its guests.

The host takes the stage's lease first. Only then it calls a round: guests learn what to do, all join a process group,
and work. A guest waits as long as the host lives. What they tell each other lies on a ``Board`` at the host. A round
ends for all when it ends for one: its process group closes, and whoever computes with it finds its peers gone.
"""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from harness.distributed.board import Board
from harness.distributed.failures import RankLost

ARRIVAL_SECONDS = 600.0  # for the slowest guest to start
COLLECTIVE_SECONDS = 1800.0  # one rank may write a large model while the others wait for it
LAST_WORDS_SECONDS = 15.0  # for the reason of a rank that is gone
GRACE_SECONDS = 60.0  # for the host to notice by itself that a guest has failed
PARTING_SECONDS = 60.0
POLL_SECONDS = 0.1

# How the loss of a peer shows where torch has no class for it.
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo", "NCCL", "Connection refused")


class HostGone(Exception):
    """The host has ended; there is nothing left to do."""


class Host:
    """Rank 0. ``address``: where guests come from, ``127.0.0.1`` for those of this machine, empty for any.

    ``port`` and ``key`` are for the guests alone.
    """

    def __init__(self, world_size: int, address: str = "127.0.0.1") -> None:
        self.world_size = world_size
        self.key = secrets.token_hex(16)
        listener = _listen(address)
        self.port: int = listener.getsockname()[1]
        self._store = dist.TCPStore(
            "127.0.0.1",
            self.port,
            is_master=True,
            wait_for_workers=False,
            master_listen_fd=listener.detach(),
            timeout=timedelta(seconds=ARRIVAL_SECONDS),
        )
        self._board = Board(self._store, self.key)
        self._round = 0

    @contextmanager
    def working(
        self, order: Mapping[str, Any], check: Callable[[], None], give_up: Callable[[RankLost], None]
    ) -> Iterator[None]:
        """A round: all ranks work on ``order`` (JSON) while the body runs, in a process group.

        ``check`` is asked while waiting and raises ``RankLost`` for a guest that has died. Raises ``RankLost``, also
        for an error of the body that comes of one. Where the body does not notice that a guest has failed, as in a
        collective of GPUs, ``give_up`` is called by another thread: it has to end this process.
        """
        guests = range(1, self.world_size)
        self._wait([f"here/{rank}" for rank in guests], ARRIVAL_SECONDS, check)
        number, self._round = self._round, self._round + 1
        self._board.tell(f"round/{number}", {**order, "world_size": self.world_size})
        over = threading.Event()

        def check_all() -> None:
            if lost := self._lost(self._board, number, check):
                raise lost

        threading.Thread(target=self._watch, args=(number, check, over, give_up), daemon=True).start()
        try:
            with _process_group(self._store, number, 0, self.world_size, 0):
                yield
                with suppress(RankLost):  # all is done
                    self._wait([f"done/{number}/{rank}" for rank in guests], PARTING_SECONDS, check_all)
        except Exception as error:
            if is_loss(error):
                raise self._cause(number, error, check) from error
            raise
        finally:
            over.set()
            self._board.tell(f"over/{number}")

    def end(self) -> None:
        """Send the guests home."""
        self._board.tell(f"round/{self._round}", None)
        with suppress(RankLost):
            self._wait([f"left/{rank}" for rank in range(1, self.world_size)], LAST_WORDS_SECONDS, lambda: None)

    def _watch(
        self, number: int, check: Callable[[], None], over: threading.Event, give_up: Callable[[RankLost], None]
    ) -> None:
        # A connection of its own: the other one is busy while this process waits for a value.
        board = Board(_client("127.0.0.1", self.port), self.key)
        while not over.wait(1.0):
            lost = self._lost(board, number, check)
            if lost is not None and not over.wait(GRACE_SECONDS):
                give_up(lost)

    def _lost(self, board: Board, number: int, check: Callable[[], None]) -> RankLost | None:
        """A guest that has said why it fails, or that is dead."""
        for rank in range(1, self.world_size):
            if board.has(f"failed/{number}/{rank}"):
                return _words(rank, board.read(f"failed/{number}/{rank}"))
        try:
            check()
        except RankLost as lost:
            return lost
        return None

    def _cause(self, number: int, error: Exception, check: Callable[[], None]) -> RankLost:
        """Why contact was lost: what a guest has said, or that it is dead."""
        end = time.monotonic() + LAST_WORDS_SECONDS
        while time.monotonic() < end:
            lost = self._lost(self._board, number, check)
            if lost is not None:
                return lost
            time.sleep(POLL_SECONDS)
        # All lost contact. What one saw may be the reason, as when the network's library finds no memory.
        seen = [(rank, f"lost/{number}/{rank}") for rank in range(1, self.world_size)]
        found = [_words(rank, self._board.read(name)) for rank, name in seen if self._board.has(name)]
        reason = f"contact with another rank was lost ({_first_line(error)})"
        hungry = [each for each in found if each.out_of_memory]
        return next(iter(hungry), RankLost("; ".join([reason, *(each.reason for each in found)])))

    def _wait(self, names: Sequence[str], seconds: float, check: Callable[[], None]) -> None:
        end = time.monotonic() + seconds
        for name in names:
            while not self._board.has(name):
                check()
                if time.monotonic() > end:
                    raise RankLost(f"a rank did not answer within {seconds:.0f} s ({name})")
                time.sleep(POLL_SECONDS)


class Guest:
    """A rank but the first, connected to its host at the first of ``addresses`` that answers."""

    def __init__(self, addresses: Sequence[str], port: int, key: str, rank: int, local_rank: int) -> None:
        self.rank = rank
        self._local_rank = local_rank
        self._store = _connect(addresses, port)
        self._board = Board(self._store, key)
        self._tell(f"here/{rank}")

    def orders(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Number and order of each round, until the host sends home. Raises ``HostGone``."""
        number = 0
        while True:
            while not self._told(f"round/{number}"):
                time.sleep(POLL_SECONDS)
            order = self._board.read(f"round/{number}")
            if order is None:
                self._tell(f"left/{self.rank}")
                return
            yield number, order
            number += 1

    def work(self, number: int, order: Mapping[str, Any], do: Callable[[], None]) -> None:
        """Take part in a round. Raises what ``do`` raises, and ``HostGone``."""
        with _process_group(self._store, number, self.rank, order["world_size"], self._local_rank):
            do()
            self._tell(f"done/{number}/{self.rank}")
            self._wait_for_end(number, PARTING_SECONDS)

    def failed(self, number: int, told: Mapping[str, Any], error: Exception) -> None:
        """Tell the host why (``told``: arguments of ``RankLost``), and wait until it has ended the round.

        It may be in the middle of something long, and the words are with it: they live as long as it does. Raises
        ``HostGone``.
        """
        self._tell(f"{'lost' if is_loss(error) else 'failed'}/{number}/{self.rank}", told)
        if not self._wait_for_end(number, COLLECTIVE_SECONDS):
            raise HostGone

    def _wait_for_end(self, number: int, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not self._told(f"over/{number}"):
            if time.monotonic() > end:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _told(self, name: str) -> bool:
        try:
            return self._board.has(name)
        except dist.DistError as error:
            raise HostGone from error

    def _tell(self, name: str, value: Any = None) -> None:
        try:
            self._board.tell(name, value)
        except dist.DistError as error:
            raise HostGone from error


def is_loss(error: BaseException) -> bool:
    """Whether an error comes of a rank that is gone, or may."""
    words = str(error)
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(each in words for each in _LOST)
    )


def _words(rank: int, told: Mapping[str, Any]) -> RankLost:
    return RankLost(**{**told, "reason": f"rank {rank}: {told['reason']}"})


@contextmanager
def _process_group(store: Any, number: int, rank: int, world_size: int, local_rank: int) -> Iterator[None]:
    """The default process group while the body runs: gloo, and NCCL between GPUs, of which each rank takes its own."""
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(
        backend,
        store=dist.PrefixStore(f"group/{number}", store),
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=COLLECTIVE_SECONDS),
    )
    try:
        yield
    finally:
        # Also in the middle of a collective of the others, who notice by it.
        with suppress(RuntimeError):
            dist.destroy_process_group()


def _listen(address: str) -> socket.socket:
    if not address and socket.has_dualstack_ipv6():
        return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server((address, 0))


def _connect(addresses: Sequence[str], port: int) -> Any:
    for address in addresses:
        with suppress(OSError):
            socket.create_connection((address, port), timeout=10).close()  # the store itself would try for long
            return _client(address, port)
    raise HostGone(f"nobody answers at {', '.join(addresses)}, port {port}")


def _client(address: str, port: int) -> Any:
    return dist.TCPStore(address, port, is_master=False, timeout=timedelta(seconds=ARRIVAL_SECONDS))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
