"""The tasks of a Slurm job as the ranks of its stage: task 0 leads, the others find it through a file of the job.

The file lies beside the job's others, where all nodes see it, and says where task 0 listens. The port is a free one.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.launch import waiting
from harness.launch.follower import follow
from harness.launch.siblings import Together, end_for, order_of, ranks_of
from harness.store import Workspace, write_json

MEETING = "meeting"  # suffix of the file that says where task 0 listens
ARRIVAL_SECONDS = waiting.DISK_SECONDS + 600.0  # srun ends the others when task 0 gives up
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Tasks:
    """The tasks of a job's step: this one's number, how many there are, and its number on its node.

    ``run`` differs between two starts of one job: what an earlier one left must not be taken for this one's.
    """

    number: int = 0
    count: int = 1
    number_on_node: int = 0
    run: str = ""

    @classmethod
    def current(cls) -> Tasks:
        """Those of the step that this process belongs to."""

        def told(name: str, otherwise: int) -> int:
            return int(os.environ.get(name) or otherwise)

        run = "-".join(os.environ.get(name, "0") for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_STEP_ID"))
        return cls(
            told("SLURM_PROCID", 0),
            told("SLURM_STEP_NUM_TASKS", told("SLURM_NTASKS", 1)),
            told("SLURM_LOCALID", 0),
            run,
        )

    @contextmanager
    def led(self, meeting: Path) -> Iterator[Together | None]:
        """On task 0: what brings in the others for a stage; they go home when the body ends."""
        if self.count == 1:
            yield None
            return
        from harness.distributed.meeting import Host

        host = Host(self.count, address="")
        told = {"run": self.run, "addresses": _addresses(), "port": host.port, "key": host.key}
        waiting.for_space(lambda: write_json(meeting, told))

        @contextmanager
        def together(workspace: Workspace) -> Iterator[None]:
            if ranks_of(workspace.stage) == 1:  # of a kind that one process computes
                yield
                return
            workspace.processes = self.count
            # srun ends the whole step when a task of it dies.
            with host.working(order_of(workspace), lambda: None, end_for(workspace)):
                yield

        try:
            yield together
        finally:
            host.end()

    def follow(self, meeting: Path, registry: Path | None) -> None:
        """On the other tasks: help with whatever task 0 computes, until it is done. Raises ``HostGone``."""
        from harness.distributed.meeting import Guest, HostGone

        end = time.monotonic() + ARRIVAL_SECONDS
        while (told := self._read(meeting)) is None:
            if time.monotonic() > end:
                raise HostGone(f"task 0 of the job has not said where it listens ({meeting})")
            time.sleep(POLL_SECONDS)
        follow(Guest(told["addresses"], told["port"], told["key"], self.number, self.number_on_node), registry)

    def _read(self, meeting: Path) -> dict[str, Any] | None:
        with suppress(OSError, ValueError):
            told = json.loads(meeting.read_bytes())
            if told["run"] == self.run:
                return dict(told)
        return None


def _addresses() -> list[str]:
    """Where this node may be reached. Slurm knows it by the address that ``srun`` was started at, which is here."""
    name = socket.gethostname()
    candidates = [os.environ.get("SLURM_LAUNCH_NODE_IPADDR", ""), name, socket.getfqdn()]
    with suppress(OSError):
        candidates += [str(each[4][0]) for each in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
    return [each for each in dict.fromkeys(candidates) if each]
