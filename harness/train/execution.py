"""How a stage's training is carried out on this machine; none of it decides the result, all of it is recorded."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

import torch

from harness.store import Stage

RUNTIME = "runtime"
"""Name under which a stage's ``location`` holds what differs from the defaults, as JSON (``harness.plan.graph``)."""


@dataclass(frozen=True)
class Execution:
    """``gradient_checkpointing`` and the choice of the ``attention`` kernel, as in ``RuntimeConfig``.

    ``checkpoint_seconds``: how much work an interruption may cost. ``ranks`` asks for so many processes; whoever starts
    them says how many there are (``harness.distributed``). ``sharding``: each has the whole model, or its part.
    """

    gradient_checkpointing: bool = False
    attention: str = "auto"
    checkpoint_seconds: float = 20.0
    ranks: int = 1
    sharding: str = "replicate"

    @classmethod
    def of(cls, stage: Stage) -> Execution:
        """As the plan of a stage says."""
        return cls(**json.loads(stage.location.get(RUNTIME, "{}")))

    def told(self, stage: Stage) -> Stage:
        """The same stage, to be carried out like this."""
        return replace(stage, location={**stage.location, RUNTIME: json.dumps(asdict(self))})


def active_device() -> torch.device:
    """Where training runs: the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """Its name for people: the GPU's model, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
