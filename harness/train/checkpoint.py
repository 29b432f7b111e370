"""Everything a phase needs to go on where it was, bit for bit: trainable weights, optimiser and random state.

Frozen weights are not stored: they come from the phase's inputs. Buffers that a forward changes (the running statistics
of BatchNorm) are. The step, which is also the data cursor because the
order of documents is a function of the seed, is the number of telemetry rows saved beside.

What is stored does not know how many ranks there were: tensors are whole, put together one by one on rank 0, which
alone reads and writes, so that any number of ranks goes on, with the model split or not. The random state is rank 0's;
those of the others follow from the step (``Ranks.seed_step``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from harness.distributed.ranks import Ranks
from harness.errors import HarnessError
from harness.models.sharding import split_like, whole

TENSORS = "state.safetensors"

_STATE = ("step", "exp_avg", "exp_avg_sq")


def save(directory: Path | None, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write into an empty directory (the caller renames it into place); ``None`` on all ranks but the first.

    A collective where parameters are split, nothing but rank 0's work where they are not.
    """
    tensors: dict[str, Tensor] = {}

    def keep(name: str, tensor: Any) -> None:
        together = whole(torch.as_tensor(tensor).detach())
        if directory is not None:
            tensors[name] = together.cpu().contiguous()  # a GPU that holds a share has no room for the whole

    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    for name, parameter in trained.items():
        keep(f"weights.{name}", parameter)
    for name, buffer in _running(model):
        keep(f"buffers.{name}", buffer)
    names = {id(parameter): name for name, parameter in trained.items()}
    for held, state in optimizer.state.items():
        for key, value in state.items():
            keep(f"optimizer.{key}.{names[id(held)]}", value)
    if directory is None:
        return
    tensors["random.torch"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    save_file(tensors, str(directory / TENSORS))


def load(
    directory: Path | None, model: nn.Module, optimizer: torch.optim.Optimizer, ranks: Ranks | None = None
) -> None:
    """Put a saved state back into a model and an optimiser that were built alike, on any number of ranks.

    ``directory`` is read on rank 0 alone, ``None`` elsewhere; the others get their part of each tensor from there.
    """
    ranks = ranks or Ranks()
    try:
        _load(_Saved(directory, ranks), model, optimizer)
    except (OSError, SafetensorError) as error:
        raise HarnessError(
            f"the checkpoint {directory} is damaged: {error}", remedy="remove that folder; the phase starts again"
        ) from error


class _Saved:
    """The tensors of a checkpoint by name, one at a time, on all ranks."""

    def __init__(self, directory: Path | None, ranks: Ranks) -> None:
        self._ranks = ranks
        self._file: Any = None
        if directory is not None:
            self._file = safe_open(str(directory / TENSORS), framework="pt")
        self.names = set(ranks.agree(lambda: list(self._file.keys())))

    def own(self, name: str) -> Tensor | None:
        """A tensor that only rank 0 is to have."""
        return self._file.get_tensor(name) if self._file is not None and name in self.names else None

    def like(self, name: str, other: Tensor, scalar: bool = False) -> Tensor:
        """A tensor of the shape of ``other``, beside it and split like it; or a ``scalar`` beside it."""
        if self._file is not None:
            tensor = self._file.get_tensor(name)
        else:
            tensor = torch.empty(() if scalar else other.shape, dtype=torch.float32 if scalar else other.dtype)
        tensor = self._ranks.spread(tensor)
        return tensor.to(other.device) if scalar else split_like(tensor, other)


def _load(saved: _Saved, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            parameter.copy_(saved.like(f"weights.{name}", parameter))
            # Beside it: the fused AdamW asks for that.
            optimizer.state[parameter] = {
                key: saved.like(f"optimizer.{key}.{name}", parameter, scalar=key == "step")
                for key in _STATE
                if f"optimizer.{key}.{name}" in saved.names
            }
        for name, buffer in _running(model):
            buffer.copy_(saved.like(f"buffers.{name}", buffer))
    state = saved.own("random.torch")
    if state is not None:
        torch.set_rng_state(state)
    state = saved.own("random.cuda")
    if state is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state)


def _running(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The buffers of every BatchNorm."""
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            yield from module.named_buffers(prefix=name)
