"""The same numbers in fewer passes over memory, for fp32 on a CPU: RMSNorm and rotary embeddings of any family.

At the sizes that are trained on a CPU, half of a step is not matrix products. transformers writes RMSNorm as six and
its gradient as a dozen elementwise operations; rotary embeddings as ten with two buffers of zeros. Modules that are
recognised here get a forward of their own with a hand-written gradient; nothing of transformers is changed for others.

Recognition is by behaviour: a module is replaced when its forward, or its module's ``apply_rotary_pos_emb``, gives on
random numbers what ours gives. Whatever differs (another norm, interleaved rotations) keeps its own code, as do other
devices and precisions at run time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from copy import deepcopy
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

_TOLERANCE = 1e-5


def use_fast_paths(model: nn.Module) -> None:
    """Give the recognised modules of a model their faster forwards; parameters and names stay as they are."""
    for module in model.modules():
        with torch.device("cpu"):  # transformers builds models under "meta", where nothing can be compared
            _use_fast_path(module)


def _use_fast_path(module: nn.Module) -> None:
    if type(module).__name__.endswith("RMSNorm"):
        _replace_norm(module)
    elif "apply_rotary_pos_emb" in getattr(getattr(type(module).forward, "__code__", None), "co_names", ()):
        _replace_rotation(module)


def _equal(ours: Tensor, theirs: Tensor) -> bool:
    return torch.allclose(ours, theirs, atol=_TOLERANCE, rtol=_TOLERANCE)


# --- RMSNorm


class _RMSNorm(torch.autograd.Function):
    """x · rsqrt(mean(x²) + ε) · w over the last dimension.

    The gradient is that of layer normalisation, for which torch has one fused kernel: told that the mean is zero, it
    computes r·(g·w − x·r²·mean(g·w·x) − mean(g·w)), of which only the last term is not RMSNorm's.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        width = states.shape[-1]
        flat = states.reshape(-1, width)
        scale = torch.linalg.vector_norm(flat, dim=-1, keepdim=True).square_().div_(width).add_(epsilon).rsqrt_()
        ctx.save_for_backward(flat, weight, scale)
        return (flat * scale).mul_(weight).view(states.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        flat, weight, scale = ctx.saved_tensors
        gradient = gradients[0].reshape(flat.shape)
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False]
        of_states, of_weight, _ = torch.ops.aten.native_layer_norm_backward(
            gradient, flat, [flat.shape[1]], torch.zeros_like(scale), scale, weight, None, wanted
        )
        if of_states is not None:
            mean = torch.mv(gradient, weight).div_(flat.shape[1]).unsqueeze_(-1)
            of_states = of_states.add_(mean.mul_(scale)).view(gradients[0].shape)
        return of_states, of_weight, None


def _plain_norm(self: Any, states: Tensor) -> Tensor:
    if states.dtype != torch.float32 or not states.is_cpu:
        return type(self).forward(self, states)
    return _RMSNorm.apply(states, self.weight, _epsilon(self))


def _one_centred_norm(self: Any, states: Tensor) -> Tensor:
    """Gemma's, whose weight is stored minus one."""
    if states.dtype != torch.float32 or not states.is_cpu:
        return type(self).forward(self, states)
    return _RMSNorm.apply(states, 1.0 + self.weight, _epsilon(self))


def _epsilon(module: Any) -> Any:
    return getattr(module, "variance_epsilon", None) or getattr(module, "eps", None)


def _replace_norm(module: Any) -> None:
    weight = getattr(module, "weight", None)
    if weight is None or weight.ndim != 1 or not isinstance(_epsilon(module), float):
        return
    # A copy with weights of its own: the module itself may still be without any (transformers loads via "meta").
    probe = deepcopy(module).to_empty(device="cpu").float()
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(3, weight.shape[0], generator=generator)
    with torch.no_grad():
        probe.weight.uniform_(0.5, 1.5, generator=generator)
        expected = type(probe).forward(probe, states)
        for forward in (_plain_norm, _one_centred_norm):
            if _equal(forward(probe, states), expected):
                module.forward = MethodType(forward, module)
                return


# --- rotary position embeddings


class _Rotation(torch.autograd.Function):
    """x · cos + rotate_half(x) · sin, halves in place."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        rotated = torch.empty_like(states)
        torch.mul(states, cosine, out=rotated)
        (left, right), (into_left, into_right), (sine_left, sine_right) = (
            tensor.chunk(2, -1) for tensor in (states, rotated, sine)
        )
        into_left.addcmul_(right, sine_left, value=-1)
        into_right.addcmul_(left, sine_right)
        return rotated

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = ctx.saved_tensors
        (gradient,) = gradients
        unrotated = torch.empty_like(gradient)
        torch.mul(gradient, cosine, out=unrotated)
        (left, right), (into_left, into_right), (sine_left, sine_right) = (
            tensor.chunk(2, -1) for tensor in (gradient, unrotated, sine)
        )
        into_left.addcmul_(right, sine_right)
        into_right.addcmul_(left, sine_left, value=-1)
        return unrotated, None, None


def _rotation_instead_of(original: Callable[..., tuple[Tensor, Tensor]]) -> Callable[..., tuple[Tensor, Tensor]]:
    def apply_rotary_pos_emb(
        q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        plain = not (args or kwargs) and q.is_cpu and cos.dtype == q.dtype == torch.float32
        if not plain or cos.shape[-1] != q.shape[-1]:
            return original(q, k, cos, sin, *args, **kwargs)
        cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
        return _Rotation.apply(q, cos, sin), _Rotation.apply(k, cos, sin)

    return apply_rotary_pos_emb


def _replace_rotation(module: nn.Module) -> None:
    names = vars(sys.modules[type(module).__module__])
    original = names["apply_rotary_pos_emb"]
    ours = _rotation_instead_of(original)
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(2, heads, 5, 8, generator=generator) for heads in (4, 2))
    cosine, sine = (torch.randn(2, 5, 8, generator=generator) for _ in range(2))
    try:
        expected = original(query, key, cosine, sine)
    except (RuntimeError, TypeError, ValueError):  # takes other arguments: not ours
        return
    if all(map(_equal, ours(query, key, cosine, sine), expected)):
        # The same code with one name bound to our function, for this module alone.
        forward = type(module).forward
        rebound = FunctionType(
            forward.__code__,
            {**names, "apply_rotary_pos_emb": ours},
            forward.__name__,
            forward.__defaults__,
            forward.__closure__,
        )
        rebound.__kwdefaults__ = forward.__kwdefaults__
        module.forward = MethodType(rebound, module)
