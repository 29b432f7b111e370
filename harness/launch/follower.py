"""A rank but the first: ``python -m harness.launch.follower``, started by ``harness.launch.siblings``; a task of a
Slurm job runs ``follow`` itself.

It computes what the host of the meeting (``harness.distributed.meeting``) calls it to, and writes nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.launch import executors, waiting
from harness.launch.execution import failure, printing_to
from harness.launch.parent import die_with
from harness.store import Stage, Store

if TYPE_CHECKING:
    from harness.distributed.meeting import Guest

KEY = "HARNESS_MEETING_KEY"
"""Environment variable with the key of the meeting: other users see arguments."""


def follow(guest: Guest, registry: Path | None = None) -> None:
    """Takes part in every round until the host sends home. Raises ``HostGone``."""
    stores: dict[Path, Store] = {}  # kept, so that inputs are verified once
    for number, order in guest.orders():
        with printing_to(Path(order["log"])) if "log" in order else contextlib.nullcontext():
            error = _taking_part(guest, number, order, partial(_execute, order, stores, registry))
        if error is not None:
            failed = failure(error, Path(order["root"]))
            told = ("reason", "retryable", "out_of_memory", "storage_full")
            guest.failed(number, {name: getattr(failed, name) for name in told}, error)


def _taking_part(guest: Guest, number: int, order: Mapping[str, Any], do: Callable[[], None]) -> Exception | None:
    """A round; the error that ended it here, which is printed."""
    from harness.distributed.meeting import HostGone

    try:
        guest.work(number, order, do)
    except HostGone:
        raise
    except Exception as error:
        with contextlib.suppress(OSError):
            print(f"rank {guest.rank}:", traceback.format_exc(), file=sys.stderr, flush=True)
        return error
    return None


def _execute(order: Mapping[str, Any], stores: dict[Path, Store], registry: Path | None) -> None:
    root, stage = Path(order["root"]), Stage.from_json(order["stage"])
    store = stores.setdefault(root, Store(root))
    for stage_id in stage.inputs.values():
        waiting.until(lambda stage_id=stage_id: store.is_done(stage_id))  # type: ignore[misc]
    waiting.until(lambda: store.find(stage.id) is not None)
    executors.load(stage.kind, registry)(store.follow(stage))


def main(arguments: list[str] | None = None) -> int:
    """Follows a host on this machine."""
    parser = argparse.ArgumentParser(description="A rank of a stage; not meant to be started by hand.")
    parser.add_argument("--parent", type=int, required=True, help="process id of the host")
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--registry", type=Path, default=None, help="JSON table of executors, for tests")
    options = parser.parse_args(arguments)
    die_with(options.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the scheduler decides what Ctrl-C means
    faulthandler.enable()
    from harness.distributed.meeting import Guest, HostGone

    try:
        follow(Guest(["127.0.0.1"], options.port, os.environ[KEY], options.rank, options.rank), options.registry)
    except (HostGone, HarnessError) as error:
        print(f"rank {options.rank}: {error or 'rank 0 is gone'}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
