"""Patience with a shared disk, which may show late what is there, or be full."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from harness.errors import HarnessError
from harness.store import StorageFull

VISIBLE_SECONDS = 60.0  # for so long one may not see what another node has written
DISK_SECONDS = 1800.0  # for how long one waits for space on a full disk
DISK_POLL_SECONDS = 15.0

_log = logging.getLogger(__name__)


def until(condition: Callable[[], bool]) -> bool:
    """Waits for a condition, as long as a network file system may need; whether it came true."""
    end = time.monotonic() + VISIBLE_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError, HarnessError):
            if condition():
                return True
        time.sleep(1.0)
    return False


def for_space(write: Callable[[], None]) -> None:
    """Writes as soon as the disk has room. Raises ``StorageFull`` when it has had none for long."""
    end = time.monotonic() + DISK_SECONDS
    while True:
        try:
            write()
            return
        except StorageFull as full:
            if time.monotonic() > end:
                raise
            _log.warning("%s; waiting for space", full.message)
        time.sleep(DISK_POLL_SECONDS)
