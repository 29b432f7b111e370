"""A VLM whose parameters are split over the ranks (FSDP2, torch's ``fully_shard``; Zhao et al. 2023).

Each rank keeps 1/n of every parameter, its gradient and its optimiser state, and sees a layer whole while it runs it.
Layers of the language model (with the block of cross-attention that runs before them) and of the encoder are split one
by one, everything else as one piece. accelerate's FSDP silently becomes DDP on a CPU; this does not: parameters are
``DTensor`` on any device.

Ranks meet in every forward and backward pass: all have to run the same layers equally often (``harness.train.passes``).
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from harness.errors import HarnessError
from harness.models.vlm import VLM

_NEEDED = ("set_gradient_divide_factor", "set_force_sum_reduction_for_comms")


class Shards:
    """Splits a VLM, in place, over all ranks, and puts it together again on rank 0.

    Parameters become ``DTensor``; optimisers are to be built afterwards. All ranks have to call everything here.
    Raises ``HarnessError`` where torch is too old to.
    """

    def __init__(self, vlm: VLM) -> None:
        missing = [name for name in _NEEDED if not hasattr(FSDPModule, name)]
        if missing:
            raise HarnessError(
                f"torch {torch.__version__} cannot split a model as we do: its FSDPModule has no {missing[0]}",
                "install a newer torch, or set runtime.sharding: replicate",
            )
        self._vlm = vlm
        self._whole = _without_weights(vlm) if dist.get_rank() == 0 else None
        _split(vlm)

    def gather(self) -> VLM | None:
        """On rank 0 an ordinary model on the CPU with the weights as they are now, elsewhere nothing.

        Tensor by tensor: the other ranks never hold more than one of them whole. To be given back by ``release``.
        """
        into = dict(self._whole.named_parameters()) if self._whole is not None else {}
        for name, parameter in self._vlm.named_parameters():
            tensor = whole(parameter.detach())
            if into:
                into[name].data = tensor.cpu()
        if self._whole is not None:
            self._whole.train(self._vlm.training)
        return self._whole

    def release(self) -> None:
        """Free the weights that ``gather`` has put together."""
        for parameter in self._whole.parameters() if self._whole is not None else ():
            parameter.data = torch.empty(0)


def whole(tensor: Tensor) -> Tensor:
    """A tensor with all its parts; a collective for one that is split."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this rank has."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def split_like(tensor: Tensor, other: Tensor) -> Tensor:
    """This rank's part of a tensor that all ranks have whole, split as ``other`` is and on its device."""
    if isinstance(other, DTensor):
        return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements, src_data_rank=None)
    return tensor.to(other.device)


def _split(vlm: VLM) -> None:
    # At native aspect the encoder runs as often as a batch has grids, which is not as often on all ranks: then it is
    # one piece with the rest of the model.
    by_layers = vlm.config.image_aspect != "native"
    before = {id(vlm.language.layers[int(layer)]): block for layer, block in _blocks(vlm).items()}
    for layer in vlm.language.layers:
        block = before.get(id(layer))
        fully_shard([layer, block] if block is not None else layer)
    for layer in vlm.vision.layers if by_layers else ():
        fully_shard(layer)
    fully_shard(vlm)
    # What is called from outside besides forward: frozen encoders are asked for features.
    register_fsdp_forward_method(vlm, "encode")
    for module in vlm.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # the objective divides by the tokens of all ranks
            module.set_force_sum_reduction_for_comms(True)  # or gloo is asked for what it does not have


def _blocks(vlm: VLM) -> dict[str, nn.Module]:
    blocks = getattr(vlm.fusion, "blocks", None)
    return dict(blocks.items()) if isinstance(blocks, nn.ModuleDict) else {}


def _without_weights(vlm: VLM) -> VLM:
    """A copy whose parameters are empty: tied ones tied, buffers filled."""
    empty: dict[int, Any] = {
        id(parameter): nn.Parameter(torch.empty(0), requires_grad=parameter.requires_grad)
        for parameter in vlm.parameters()
    }
    return deepcopy(vlm, empty)
