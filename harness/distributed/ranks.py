"""The ranks that work on one stage together, and what they agree on. One process is a world of one: the code is the
same.

Rank 0 leads: it alone holds the stage, reads what is left of earlier attempts, and writes. The others compute.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


@dataclass(frozen=True)
class Ranks:
    """This process's ``rank`` among ``world_size``."""

    rank: int = 0
    world_size: int = 1

    @classmethod
    def current(cls) -> Ranks:
        """The initialised process group's, or a world of one."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor over the ranks (in place)."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def largest(self, values: Tensor) -> Tensor:
        """The largest of each element of a tensor over the ranks (in place)."""
        if self.world_size > 1:
            dist.all_reduce(values, dist.ReduceOp.MAX)
        return values

    def agree(self, decide: Callable[[], Any]) -> Any:
        """What rank 0 decides, a JSON value, on all ranks. ``decide`` is called on rank 0 alone."""
        if self.world_size == 1:
            return decide()
        told = _encoded(decide()) if self.leads else torch.empty(0, dtype=torch.uint8)
        size = torch.tensor([len(told)])
        dist.broadcast(size, 0)
        if not self.leads:
            told = torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(told, 0)
        return _decoded(told)

    def gather(self, value: Any) -> list[Any]:
        """The JSON values of all ranks, in their order, on rank 0; nothing elsewhere."""
        if self.world_size == 1:
            return [value]
        own = _encoded(value)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world_size)]
        dist.all_gather(sizes, torch.tensor([len(own)]))
        longest = max(int(size) for size in sizes)
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: len(own)] = own
        received = [torch.empty_like(padded) for _ in sizes] if self.leads else None
        dist.gather(padded, received)
        return [_decoded(data[: int(size)]) for data, size in zip(received or (), sizes, strict=False)]

    def spread(self, tensor: Tensor) -> Tensor:
        """Rank 0's content of a tensor, of the same shape everywhere (in place)."""
        if self.world_size > 1:
            dist.broadcast(tensor, 0)
        return tensor

    def seed_step(self, seed: int, step: int) -> None:
        """Draw this rank's dropout of a step from seed, rank and step; rank 0 goes on from its own random state.

        So ranks differ in their masks, and a training that is resumed at the same number of ranks repeats them all.
        """
        if not self.leads:
            digest = hashlib.sha256(f"dropout {seed} {self.rank} {step}".encode()).digest()
            torch.manual_seed(int.from_bytes(digest[:8], "little"))

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over the ranks: the loss is already divided by the global token count.

        A rank whose documents touch no image contributes zeros, so that the collective matches on all ranks. What no
        rank has touched stays without a gradient, as in one process: the optimiser would decay it. Sharded parameters
        were summed by the backward pass.
        """
        if self.world_size == 1:
            return
        parameters = [parameter for parameter in parameters if not isinstance(parameter, DTensor)]
        if not parameters:
            return
        pieces = [(torch.zeros_like(each) if each.grad is None else each.grad).flatten() for each in parameters]
        touched = pieces[0].new_tensor([each.grad is not None for each in parameters])
        flat = torch.cat([*pieces, touched])
        dist.all_reduce(flat)
        start = 0
        for parameter, times in zip(parameters, flat[-len(parameters) :].tolist(), strict=True):
            summed = flat[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()
            if parameter.grad is not None:
                parameter.grad.copy_(summed)
            elif times:
                parameter.grad = summed.clone()


def _encoded(value: Any) -> Tensor:
    """A JSON value as bytes: nothing that ranks tell each other is unpickled."""
    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)


def _decoded(data: Tensor) -> Any:
    return json.loads(data.numpy().tobytes())
