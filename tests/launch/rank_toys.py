"""An executor for several ranks: steps of a sum over them, kept by rank 0, and every way to lose a rank."""

from __future__ import annotations

import json
import os
import signal
import time

import torch

from harness.distributed.ranks import Ranks
from harness.errors import HarnessError
from harness.store import Workspace


def run(workspace: Workspace) -> None:
    """Each step adds the sum of the ranks' shares, so that the result is that of one process."""
    config, ranks = workspace.stage.config, Ranks.current()
    file = workspace.directory / "scratch" / "state.json"
    state = ranks.agree(lambda: json.loads(file.read_bytes()) if file.exists() else {"step": 0, "value": 0.0})
    batch = ranks.agree(lambda: workspace.within_memory(8))
    first = state["step"] == 0
    if ranks.leads:
        workspace.write_json("scratch/state.json", state)
    while state["step"] < config["steps"]:
        time.sleep(config.get("seconds", 0.0))
        state["step"] += 1
        if ranks.rank == config.get("on_rank", 1) and state["step"] == 3:
            _misbehave(config.get("behaviour", ""), batch, first)
        share = torch.arange(12, dtype=torch.float64)[ranks.rank :: ranks.world_size].sum()
        state["value"] += float(ranks.sum(share.clone())) * state["step"]
        if ranks.leads:
            workspace.write_json("scratch/state.json", state)
            workspace.report(step=state["step"], steps=config["steps"])
    locations = ranks.gather(dict(workspace.stage.location))
    if ranks.leads:
        workspace.write_json("result.json", {"value": state["value"]})
        workspace.finish(summary={"ranks": ranks.world_size, "batch": batch, "locations": locations})


def _misbehave(behaviour: str, batch: int, first: bool) -> None:
    if behaviour == "crash_once" and first:
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "advise":
        raise HarnessError("the data folder is empty", "give another one")
    if behaviour == "hungry" and batch > 2:
        raise MemoryError
