"""A local worker: ``python -m harness.launch.worker``, started and fed by ``harness.launch.pool``.

Reads requests from standard input and writes messages to what was standard output, JSON, one a line. It lives for many
stages, so that torch is imported once, and it dies with its parent however that ends.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.launch.execution import Execution, execute, failure
from harness.launch.parent import die_with
from harness.launch.siblings import Siblings
from harness.store import Store, Workspace

PROGRESS_SECONDS = 0.2  # between two progress messages


class Parent:
    """The line to the scheduler."""

    def __init__(self) -> None:
        self._output = os.dup(1)
        os.dup2(2, 1)  # what libraries print must not end up between the messages
        self._reported = 0.0

    def tell(self, message: str, **content: Any) -> None:
        """Sends a message."""
        line = json.dumps({"message": message, **content}, ensure_ascii=True) + "\n"
        data = line.encode("ascii")
        while data:
            data = data[os.write(self._output, data) :]

    def started(self, workspace: Workspace) -> None:
        """Tells that the stage is ours and the attempt has begun."""
        self.tell("started", attempt=workspace.attempt, log=str(workspace.log), offset=_size(workspace.log))

    def progress(self, progress: Mapping[str, Any]) -> None:
        """Passes on a progress report, not more often than a person can follow."""
        moment = time.monotonic()
        if moment - self._reported >= PROGRESS_SECONDS:
            self._reported = moment
            self.tell("progress", progress=dict(progress))


def main(arguments: list[str] | None = None) -> int:
    """Works until standard input ends."""
    parser = argparse.ArgumentParser(description="A worker of the local scheduler; not meant to be started by hand.")
    parser.add_argument("--parent", type=int, required=True, help="process id of the scheduler")
    parser.add_argument("--registry", type=Path, default=None, help="JSON table of executors, for tests")
    options = parser.parse_args(arguments)
    die_with(options.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the scheduler decides what Ctrl-C means
    faulthandler.enable()
    parent = Parent()
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(os.dup(0), requests), daemon=True).start()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # programs that an executor starts must not read the requests
    stores: dict[Path, Store] = {}  # kept, so that inputs are verified once
    siblings = Siblings(options.registry)
    while True:
        request = requests.get()
        parent.tell("ended", **asdict(_run(request, stores, options.registry, parent, siblings)))


def _run(
    request: Mapping[str, Any], stores: dict[Path, Store], registry: Path | None, parent: Parent, siblings: Siblings
) -> Execution:
    try:
        store, stage = Store.of_spec(request["spec"])
    except (HarnessError, OSError) as error:
        return failure(error, Path(request["spec"]))
    store = stores.setdefault(store.root, store)
    return execute(
        store,
        stage,
        registry=registry,
        wait=False,
        presumed_dead=request["presumed_dead"],
        listener=parent.progress,
        on_start=parent.started,
        together=siblings.together,
    )


def _listen(line: int, requests: queue.SimpleQueue[dict[str, Any]]) -> None:
    with os.fdopen(line, "rb") as messages:
        for message in messages:
            requests.put(json.loads(message))
    # The scheduler has closed the line, or is dead. Whatever is being computed can be resumed.
    os._exit(0)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
