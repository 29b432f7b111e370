"""Runs a function of a test as several ranks, real processes that talk through gloo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def as_ranks(world_size: int, folder: Path, function: Callable[..., None], *arguments: Any) -> None:
    """``function(*arguments)`` on each rank, in a process group; raises when it does on any of them."""
    file = folder / f"group-{world_size}"
    file.unlink(missing_ok=True)
    mp.spawn(_join, (world_size, str(file), function, arguments), nprocs=world_size)


def _join(rank: int, world_size: int, file: str, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=world_size)
    try:
        function(*arguments)
    finally:
        dist.destroy_process_group()
