"""The other ranks of a stage on this machine: child processes, which end with this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.distributed.failures import RankLost
from harness.launch import executors
from harness.launch.execution import give_up
from harness.launch.follower import KEY
from harness.store import Stage, Workspace

if TYPE_CHECKING:
    from harness.distributed.meeting import Host

Together = Callable[[Workspace], AbstractContextManager[None]]
"""Brings in the other ranks of an open stage while the body runs."""


def ranks_of(stage: Stage) -> int:
    """Processes that work on a stage together, as its plan says; kinds that know no ranks have one."""
    if stage.kind not in executors.TOGETHER:
        return 1
    return int(json.loads(stage.location.get("runtime", "{}")).get("ranks", 1))


def order_of(workspace: Workspace) -> dict[str, Any]:
    """What the other ranks are told: the stage as this one has it. Its file may be rewritten, by another driver say."""
    return {"root": str(workspace.root), "stage": workspace.stage.to_json()}


def end_for(workspace: Workspace) -> Callable[[RankLost], None]:
    """What ends this process when it hangs because another rank has failed: recorded first, so that the next attempt
    knows what was wrong.
    """

    def end(lost: RankLost) -> None:
        try:
            give_up(workspace, lost)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)

    return end


class Siblings:
    """Starts the other ranks as children of this process: at the first stage that has several, for all that follow.

    After an attempt that failed they are killed, whatever they are doing.
    """

    def __init__(self, registry: Path | None = None) -> None:
        self._registry = registry
        self._host: Host | None = None
        self._children: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def together(self, workspace: Workspace) -> Iterator[None]:
        """The ranks that a stage asks for; what they print goes to its log."""
        world_size = ranks_of(workspace.stage)
        if world_size == 1:
            yield
            return
        workspace.processes = world_size
        order = {**order_of(workspace), "log": str(workspace.log)}
        try:
            host = self._gather(world_size)
            with host.working(order, lambda: _check(self._children), end_for(workspace)):
                yield
        except BaseException:
            self._disband()
            raise

    def _gather(self, world_size: int) -> Host:
        from harness.distributed.meeting import Host

        alive = all(child.poll() is None for child in self._children)
        if self._host is None or self._host.world_size != world_size or not alive:
            self._disband()
            self._host = Host(world_size)
            for rank in range(1, world_size):
                self._children.append(_start(self._host, rank, self._registry))
        return self._host

    def _disband(self) -> None:
        for child in self._children:
            child.kill()
        for child in self._children:
            child.wait()
        self._children, self._host = [], None


def _start(host: Host, rank: int, registry: Path | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-u", "-m", "harness.launch.follower", "--parent", str(os.getpid())]
    command += ["--rank", str(rank), "--port", str(host.port)]
    if registry is not None:
        command += ["--registry", str(registry)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, env={**os.environ, KEY: host.key})


def _check(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for rank, child in enumerate(children, 1):
        code = child.poll()
        if code is None:
            continue
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = ", perhaps for want of memory" if -code == signal.SIGKILL else ""
        raise RankLost(f"the process of rank {rank} {how}{hint}")
