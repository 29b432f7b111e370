"""Ctrl-C and SIGTERM as something that a loop looks at, instead of an exception anywhere in it."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import threading
from collections.abc import Iterator


class Interruption:
    """``number`` is that of the first SIGINT or SIGTERM, 0 before; ``socket`` becomes readable then."""

    def __init__(self, wakeup: socket.socket | None = None) -> None:
        self.socket = wakeup
        self.number = 0

    def sleep(self, seconds: float) -> None:
        """Waits, but not beyond an interruption."""
        select.select([self.socket] if self.socket is not None else [], [], [], seconds)


@contextlib.contextmanager
def signals() -> Iterator[Interruption]:
    """Catches SIGINT and SIGTERM once; the second one acts as if nobody had. Only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield Interruption()
        return
    reading, writing = socket.socketpair()
    reading.setblocking(False)
    writing.setblocking(False)
    interruption = Interruption(reading)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}  # as under nohup

    def catch(number: int, frame: object) -> None:
        interruption.number = number
        for caught, handler in before.items():
            signal.signal(caught, handler)

    for number in before:
        signal.signal(number, catch)
    wakeup = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    try:
        yield interruption
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        reading.close()
        writing.close()
