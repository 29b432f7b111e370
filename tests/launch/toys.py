"""Executors for the tests of the scheduler: arithmetic in resumable steps, and every way to fail."""

from __future__ import annotations

import errno
import json
import os
import signal
import struct
import sys
import threading
import time
from pathlib import Path

from harness.errors import HarnessError
from harness.store import Workspace

_SEEN: set[str] = set()
"""The stages of this process."""


def run(workspace: Workspace) -> None:
    """Adds up its inputs and goes on from there, one step at a time, each kept before the next begins."""
    config = workspace.stage.config
    _SEEN.add(workspace.stage.id)
    _note(workspace, "start")
    state_file = workspace.scratch / "state.json"
    if state_file.exists():
        state = json.loads(state_file.read_bytes())
    else:
        values = [json.loads((workspace.input(role) / "result.json").read_bytes()) for role in workspace.stage.inputs]
        state = {"step": 0, "values": [config.get("start", 0.0) + sum(value["value"] for value in values)]}
    _misbehave(workspace, config.get("behaviour", ""))
    while state["step"] < config.get("steps", 3):
        time.sleep(config.get("seconds", 0.0))
        state["step"] += 1
        state["values"].append(state["values"][-1] * 1.1 + state["step"] / 3)
        workspace.write_json("scratch/state.json", state)
        _note(workspace, f"step {state['step']}")
        if (
            config.get("behaviour") == "stall_once"
            and state["step"] == 2
            and not (workspace.scratch / "stalled").exists()
        ):
            (workspace.scratch / "stalled").touch()
            time.sleep(600)  # until somebody kills it
        workspace.report(step=state["step"], steps=config.get("steps", 3), loss=state["values"][-1])
    with workspace.replace_directory("model") as folder:
        (folder / "values.bin").write_bytes(struct.pack(f"<{len(state['values'])}d", *state["values"]))
    workspace.write_json("result.json", {"value": state["values"][-1]})
    outcome = "diverged" if config.get("behaviour") == "diverge" else "complete"
    workspace.finish(outcome, summary={"value": state["values"][-1]})
    _note(workspace, "finish")


def _misbehave(workspace: Workspace, behaviour: str) -> None:
    first = workspace.scratch / "was_here"
    if behaviour == "crash" or (behaviour == "crash_once" and not first.exists()):
        first.touch()
        print("last words before the crash", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour and behaviour == f"dies on {os.environ.get('SLURMD_NODENAME')}":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "hungry" and workspace.within_memory(8) > workspace.stage.config["fits"]:
        raise MemoryError
    if behaviour == "roomy" and len(_SEEN) > 1:  # what an earlier stage had is not free again
        raise MemoryError
    if behaviour == "too_large":
        raise MemoryError
    if behaviour == "raise_once" and not first.exists():
        first.touch()
        raise ValueError("not yet")
    if behaviour == "raise":
        raise ValueError("two and two\nis five")
    if behaviour == "advise":
        raise HarnessError("the data folder is empty", "give another one")
    if behaviour == "hiccup_once" and not first.exists():
        first.touch()
        raise OSError(errno.ESTALE, "stale file handle")
    if behaviour == "exit":
        sys.exit(3)
    if behaviour == "forget":
        workspace.finish = lambda *_, **__: None  # type: ignore[method-assign,assignment]
    if behaviour == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    if behaviour == "late_noise":
        threading.Timer(0.3, print, ["from a thread that was forgotten"], {"flush": True}).start()
    if behaviour == "read_stdin":
        assert sys.stdin.read() == ""
        assert os.system("cat >/dev/null") == 0
        print("noise on standard output")
        os.write(1, b"more noise\n")


def _note(workspace: Workspace, what: str) -> None:
    """Appends to the journal of the whole run; one write of one line, so that processes don't mix theirs."""
    journal = Path(workspace.stage.location["journal"])
    descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{workspace.stage.id} {os.getpid()} {what}\n".encode())
    os.close(descriptor)
