"""The registry of connectors: what the spec and the counter of parameters need to know of each kind.

A kind is one line here and one file, ``harness/models/connectors/<kind>.py``, which holds the module; it is loaded when
a model is built, so this costs no torch. CONTRIBUTING.md shows how to add one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.spec.finding import Finding
from harness.spec.visual_tokens import ANY_NUMBER, EVEN_SQUARE, NEIGHBOURHOODS, ONE_A_PATCH, SQUARE, TokenRule

if TYPE_CHECKING:
    from harness.spec.schema.model import ConnectorConfig

Check = Callable[["ConnectorConfig"], Iterator[Finding]]


@dataclass(frozen=True)
class ConnectorKind:
    """What is known of a kind without torch.

    ``tokens``: which numbers of visual tokens it can make; ``reads``: the keys of ``ConnectorConfig`` that it looks at;
    ``free_width``: that of them which may follow from the key ``parameters``; ``takes_mask``: it can leave patches out,
    which images of several aspect ratios ask for; ``any_grid``: it has the same parameters and makes as many tokens on
    any grid, so that the resolution may change on the way; ``keeps_grid``: it works on neighbours in the grid of
    patches, among which nothing else can stand; ``checks``: what must hold between the keys.
    """

    tokens: TokenRule
    reads: frozenset[str]
    free_width: str | None
    takes_mask: bool
    any_grid: bool
    keeps_grid: bool
    checks: tuple[Check, ...]


def kind(
    tokens: TokenRule,
    *keys: str,
    free_width: str | None = None,
    takes_mask: bool = False,
    any_grid: bool = False,
    keeps_grid: bool = False,
    checks: tuple[Check, ...] = (),
) -> ConnectorKind:
    """A kind that reads ``keys`` and, without saying so, what several kinds do.

    That is ``output_norm``, the number of tokens if the rule leaves one to choose, and with a ``free_width`` that and
    the number of parameters it may be found from. A rule about the grid of patches says ``keeps_grid`` too.
    """
    reads = {*keys, "output_norm"}
    if tokens.reads_num_tokens:
        reads.add("num_tokens")
    if free_width is not None:
        reads |= {free_width, "parameters"}
    keeps_grid = keeps_grid or tokens.of_the_grid
    return ConnectorKind(tokens, frozenset(reads), free_width, takes_mask, any_grid, keeps_grid, checks)


def shared_heads(connector: ConnectorConfig) -> Iterator[Finding]:
    """Query heads share key-value heads evenly."""
    heads, groups = connector.num_heads, connector.num_key_value_heads
    if heads % groups:
        message = f"{heads} heads cannot share {groups} key-value heads evenly"
        divisors = ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0)
        path = ("connector", "num_key_value_heads")
        yield Finding(path, message, f"take a divisor of num_heads: {divisors}", (("connector", "num_heads"),))


def deeper_than_linear(connector: ConnectorConfig) -> Iterator[Finding]:
    """An MLP of one layer has a name of its own, or one design would have two ids."""
    if connector.mlp_depth == 1:
        message = "an MLP of one layer is the kind linear"
        yield Finding(("connector", "mlp_depth"), message, "write kind: linear, or take at least 2 layers")


def some_hidden_layer(connector: ConnectorConfig) -> Iterator[Finding]:
    """Without a hidden layer there is no width that a number of parameters could set."""
    if connector.parameters is not None and connector.mlp_depth == 1:
        message = "one linear layer has the parameters that it has"
        others = (("connector", "mlp_depth"),)
        yield Finding(("connector", "parameters"), message, "remove it, or take an mlp_depth of at least 2", others)


def some_feed_forward(connector: ConnectorConfig) -> Iterator[Finding]:
    """Idefics2's layers have a feed-forward; that of the resampler may be left out."""
    if not connector.mlp_ratio:
        message = f"{connector.kind} has a feed-forward in every layer"
        yield Finding(("connector", "mlp_ratio"), message, "take a ratio above 0", (("connector", "kind"),))


def some_language_model(connector: ConnectorConfig) -> Iterator[Finding]:
    """An adapter that is a language model has one."""
    if connector.backbone is None:
        message = "missing: the small language model that the adapter is made of"
        yield Finding(("connector", "backbone"), message, "set it, such as zoo/language-nano", (("connector", "kind"),))


RESAMPLER = ("depth", "num_heads", "head_dim", "mlp_ratio", "activation", "latent_norm", "final_norm", "time_embedding")
"""Keys of Flamingo's resampler but its width, which an adapter's pooler reads too."""

CONNECTORS: Mapping[str, ConnectorKind] = {
    "linear": kind(ONE_A_PATCH),
    "mlp": kind(ONE_A_PATCH, "mlp_depth", free_width="hidden_size", checks=(deeper_than_linear,)),
    "average_pool": kind(
        EVEN_SQUARE,
        "mlp_depth",
        free_width="hidden_size",
        any_grid=True,
        checks=(some_hidden_layer,),
    ),
    "pixel_shuffle": kind(NEIGHBOURHOODS),
    "c_abstractor": kind(SQUARE, "depth", "mlp_depth", free_width="width"),
    "attention_pool": kind(ANY_NUMBER, "num_heads", "head_dim", takes_mask=True, any_grid=True),
    "mapping_network": kind(
        ANY_NUMBER, "depth", "num_heads", "head_dim", free_width="width", takes_mask=True, any_grid=True
    ),
    "resampler": kind(
        ANY_NUMBER,
        *RESAMPLER,
        free_width="width",
        takes_mask=True,
        any_grid=True,
    ),
    "perceiver": kind(
        ANY_NUMBER,
        "depth",
        "num_heads",
        "num_key_value_heads",
        "head_dim",
        "mlp_ratio",
        "modality_projection",
        "qk_norm",
        takes_mask=True,
        any_grid=True,
        checks=(shared_heads, some_feed_forward),
    ),
    "lm_adapter": kind(
        ANY_NUMBER,
        "backbone",
        "initialization",
        "pooler",
        *RESAMPLER,
        takes_mask=True,
        any_grid=True,
        checks=(some_language_model,),
    ),
}
"""Every kind of connector by its name in a config."""


def connector_kind(name: str) -> ConnectorKind:
    """The kind called ``name``; raises HarnessError when there is none."""
    if name not in CONNECTORS:
        raise HarnessError(f"unknown connector {name!r}", remedy=f"use one of {', '.join(CONNECTORS)}")
    return CONNECTORS[name]
