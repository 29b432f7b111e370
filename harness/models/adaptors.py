"""Bottleneck adaptors inside the layers of a frozen backbone (Houlsby et al. 2019; Prismer).

They act on the residual stream through hooks, so that no layer is rewritten and the hub's parameter names survive.
Between attention and feed-forward block there is no module that the stream passes through; what an adaptor adds to it
there is added to the output of the attention branch, which is the same sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.models.seeding import generator
from harness.models.settings import AdaptorSettings, within


class Adaptor(nn.Module):
    """h ← h + up(relu(down(norm(h)))²), with a LayerNorm and biases; ``gated``: tanh(gate) times the branch."""

    def __init__(self, width: int, inner: int, gated: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.down = nn.Linear(width, inner)
        self.up = nn.Linear(inner, width)
        self.gate = nn.Parameter(torch.zeros(1)) if gated else None

    def forward(self, states: Tensor) -> Tensor:
        """States [..., d] → [..., d]."""
        return states + self.branch(states)

    def branch(self, states: Tensor) -> Tensor:
        """What is added to states [..., d]."""
        added = self.up(F.relu(self.down(self.norm(states))).square())
        return added if self.gate is None else torch.tanh(self.gate).to(added.dtype) * added

    def initialise(self, seed: int, name: str) -> None:
        """Start as the identity (Houlsby et al., section 2.1): without a gate the up-projection is zero.

        Prismer's code leaves it at random, so that a frozen backbone starts disturbed. With a gate it is drawn.
        """
        nn.init.ones_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)
        for part in ("down", "up"):
            linear = self.get_submodule(part)
            assert isinstance(linear, nn.Linear)
            bound = linear.in_features**-0.5
            for kind, parameter in linear.named_parameters():
                if part == "up" and self.gate is None:
                    nn.init.zeros_(parameter)
                else:
                    nn.init.uniform_(parameter, -bound, bound, generator(seed, f"{name}.{part}.{kind}"))
        if self.gate is not None:
            nn.init.zeros_(self.gate)


class Adaptors(nn.ModuleDict):
    """The adaptors of a backbone, by layer and place: ``3_attention``."""

    def __init__(self, layers: Sequence[nn.Module], width: int, settings: AdaptorSettings) -> None:
        super().__init__()
        for index, layer in enumerate(layers):
            if not within(settings.depths, index, len(layers)):
                continue
            for place in settings.places:
                adaptor = Adaptor(width, settings.inner(width), settings.gated)
                self[f"{index}_{place}"] = adaptor
                if place == "attention":
                    _AfterAttention(adaptor, layer)
                else:
                    layer.register_forward_hook(_AfterLayer(adaptor).add)

    def initialise(self, seed: int, prefix: str) -> None:
        """Draw all weights afresh by name; ``prefix``: the name of the adaptors in the model."""
        for name, adaptor in self.items():
            assert isinstance(adaptor, Adaptor)
            adaptor.initialise(seed, f"{prefix}.{name}")


class _AfterLayer:
    """A hook as a bound method: a copy of the model runs the copy's adaptor."""

    def __init__(self, adaptor: Adaptor) -> None:
        self._adaptor = adaptor

    def add(self, _: nn.Module, inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (self._adaptor(output[0]), *output[1:])
        return self._adaptor(output)


class _AfterAttention:
    """Two hooks: the stream that enters the layer is kept until its attention branch has been computed."""

    def __init__(self, adaptor: Adaptor, layer: nn.Module) -> None:
        self._adaptor = adaptor
        self._stream: Tensor | None = None
        branch = attention_branch(layer)
        layer.register_forward_pre_hook(self.keep, with_kwargs=True)
        branch.register_forward_hook(self.add)

    def keep(self, _: nn.Module, inputs: tuple[Any, ...], arguments: dict[str, Any]) -> None:
        self._stream = inputs[0] if inputs else arguments["hidden_states"]

    def add(self, _: nn.Module, inputs: Any, output: Any) -> Any:
        assert self._stream is not None
        attended = output[0] if isinstance(output, tuple) else output
        adapted = attended + self._adaptor.branch(self._stream + attended)
        self._stream = None
        return (adapted, *output[1:]) if isinstance(output, tuple) else adapted


def attention_branch(layer: nn.Module) -> nn.Module:
    """The module of a layer whose output is added to the residual stream after attention."""
    children = dict(layer.named_children())
    if "pre_feedforward_layernorm" in children:  # Gemma normalises the branch once more
        return children["post_attention_layernorm"]
    for name in ("layer_scale1", "self_attn", "attention"):
        if name in children:
            return children[name]
    raise HarnessError(
        f"the attention of {type(layer).__name__} is not known", remedy="set adaptor.placement to feed_forward"
    )
