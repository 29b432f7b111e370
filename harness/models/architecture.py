"""The matrix products and parameters of a VLM, read from config dictionaries: no torch, no weights, microseconds.

A component is a list of operations in the order of its forward pass. An operation names the streams it reads and
writes, so that a walk over the list knows through which products gradients flow (``harness.models.flops``). Tests hold
parameters and products against the real modules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.models.families import language_family, vision_family
from harness.models.operations import Attention, Linear, Mark, Operation, Weights, gated
from harness.models.settings import Adapters, AdaptorSettings, Component, FusionSettings

if TYPE_CHECKING:
    from harness.models.families.base import LanguageFamily, VisionFamily


@dataclass(frozen=True)
class Workload:
    """What a forward is given: documents of so many tokens (visual ones included), ``images``, supervised tokens.

    ``prompts``: the lengths of those parts of documents that are read in both directions.
    """

    lengths: tuple[int, ...]
    images: int
    supervised: int
    prompts: tuple[int, ...] = ()

    @property
    def tokens(self) -> int:
        """Tokens of the language model's sequences."""
        return sum(self.lengths)

    def pairs(self, window: int | None) -> int:
        """(query, key) pairs that attention may see: what is needed, not what a kernel computes in vain."""
        ahead = sum(_visible_pairs(length, window) - length for length in self.prompts)  # a token has seen itself
        return sum(_visible_pairs(length, window) for length in self.lengths) + ahead

    def image_pairs(self, last_only: bool) -> int:
        """(token, image) pairs that cross-attention may see, were the images spread evenly over the documents and each
        document to begin with one.
        """
        each = self.images / len(self.lengths)
        return round(sum(_visible_images(length, each, last_only) for length in self.lengths))


def vision_grid(config: Mapping[str, Any], image_size: int) -> tuple[int, int]:
    """Patches (h, w) of an image of ``image_size`` pixels a side."""
    patch = _side(_vision_values(config)["patch_size"])
    return (image_size // patch, image_size // patch)


def vision_width(config: Mapping[str, Any]) -> int:
    """Width of the encoder's features."""
    return int(_vision_values(config)["hidden_size"])


def vision_tokens(config: Mapping[str, Any], grid: tuple[int, int]) -> int:
    """Tokens of the encoder's sequence for an image: those of ``grid``, and a class token where there is one."""
    return grid[0] * grid[1] + vision_family_of(config).class_tokens


def vision_layers(config: Mapping[str, Any]) -> int:
    """Number of layers of the encoder."""
    return int(_vision_values(config)["num_hidden_layers"])


def vision_operations(
    config: Mapping[str, Any], image_size: int, images: int, read: int | None = None
) -> Iterator[Operation | Mark]:
    """The encoder of a ``config.json`` (of a two-tower model its vision half), without pooling heads.

    ``read``: what its layers read instead of the patches, so many tokens an image, beside a class token.
    """
    values = _vision_values(config)
    family = vision_family_of(config)
    width, patch = values["hidden_size"], _side(values["patch_size"])
    intermediate = values.get("intermediate_size") or width * values["mlp_ratio"]
    qkv_bias = bool(values.get("qkv_bias", True))
    patches = (image_size // patch) ** 2
    tokens = vision_tokens(config, vision_grid(config, image_size))
    extra = tokens - patches  # the class token
    if read is not None:
        tokens = extra + read
    rows = images * tokens

    pixels = values.get("num_channels", 3) * patch * patch
    yield Linear("pixels", ("stream",), images * patches, pixels, width, family.patch_bias, adaptable=False)
    positions = (_side(values["image_size"]) // patch) ** 2 + extra
    yield Weights("stream", "stream", (positions + extra) * width)
    if family.mask_token and values.get("use_mask_token", True):
        yield Weights("stream", "stream", width, unused=True)
    yield Mark(0, "embedded")
    if family.first_norm:
        yield Weights("stream", "stream", 2 * width, norm=True)
    for index in range(values["num_hidden_layers"]):
        yield Mark(index, "begin")
        yield Weights("stream", "normed", 2 * width, norm=True)
        for name in ("query", "key", "value"):
            yield Linear("normed", (name,), rows, width, width, qkv_bias)
        yield Attention(("query", "key", "value"), "attended", images * tokens * tokens, width)
        yield Linear("attended", ("branch",), rows, width, width, True)
        yield Weights("branch", "stream", width * family.layer_scale)
        yield Mark(index, "attention")
        yield Weights("stream", "normed", 2 * width, norm=True)
        yield Linear("normed", ("hidden",), rows, width, intermediate, True)
        yield Linear("hidden", ("branch",), rows, intermediate, width, True)
        yield Weights("branch", "stream", width * family.layer_scale)
        yield Mark(index, "end")
    if family.last_norm:
        yield Weights("stream", "stream", 2 * width, norm=True)


def language_widths(config: Mapping[str, Any]) -> tuple[int, int]:
    """Widths of a language model's embeddings and of its feed-forward blocks."""
    values, family = _language_values(config), language_family_of(config)
    return values[family.width] or values["hidden_size"], values[family.intermediate]


def language_width(config: Mapping[str, Any]) -> int:
    """Width of a language model's residual stream."""
    return int(_language_values(config)["hidden_size"])


def language_layers(config: Mapping[str, Any]) -> tuple[int, tuple[int, int]]:
    """Number of decoder layers of a language model, and number and size of its attention heads."""
    values = _language_values(config)
    heads = values["num_attention_heads"]
    return values["num_hidden_layers"], (heads, values.get("head_dim") or values["hidden_size"] // heads)


def side_by_side(config: Mapping[str, Any]) -> bool:
    """Whether a language model's layers run attention and feed-forward block side by side (GPT-NeoX): the description
    of its family marks no place between them.
    """
    marks = [each for each in language_operations(config, Workload((1,), 0, 1)) if isinstance(each, Mark)]
    return not any(mark.part == "attention" for mark in marks)


def language_operations(config: Mapping[str, Any], workload: Workload) -> Iterator[Operation | Mark]:
    """The causal language model of a ``config.json``; its head runs at supervised tokens only."""
    values = _language_values(config)
    yield from language_family_of(config).forward(values, workload)


def body_operations(config: Mapping[str, Any], workload: Workload) -> Iterator[Operation]:
    """The decoder layers of a causal language model with what stands around them, without table and head."""
    own = [operation for operation in language_operations(config, workload) if not isinstance(operation, Mark)]
    yield from own[1:-1]  # every family begins with the table and ends with the head


def decoder_operations(
    config: Mapping[str, Any], fusion: FusionSettings, memory_width: int, visual_tokens: int, workload: Workload
) -> Iterator[tuple[Component, Operation | Mark]]:
    """The language model with what the fusion puts between its layers, in the order of the forward pass.

    ``visual_tokens`` an image, ``memory_width`` wide, are on the stream ``memory``; those that stand in the sequence
    are on ``stream``.
    """
    width, intermediate = language_widths(config)
    count, heads = language_layers(config)
    before = fusion.layers(count)
    if before:
        yield "fusion", Weights("stream", "stream", width)  # the embedding of an image's place
    for operation in language_operations(config, workload):
        yield "language", operation
        if isinstance(operation, Mark) and operation.part == "begin" and operation.layer in before:
            sizes = width, intermediate, memory_width, *fusion.heads(heads)
            for own in _cross_attention(fusion, sizes, visual_tokens, workload):
                yield "fusion", own


def _cross_attention(
    fusion: FusionSettings, sizes: tuple[int, int, int, int, int], visual_tokens: int, workload: Workload
) -> Iterator[Operation]:
    """One gated block."""
    width, intermediate, memory_width, heads, head = sizes
    rows, seen = workload.tokens, workload.images * visual_tokens
    norm = 2 * width if fusion.flavour == "flamingo" else width
    gate = {"scalar": 1, "vector": width, "none": 0}[fusion.gate]
    yield Weights("stream", "normed", norm)
    yield Linear("normed", ("query",), rows, width, heads * head)
    yield Linear("memory", ("key",), seen, memory_width, heads * head)
    yield Linear("memory", ("value",), seen, memory_width, heads * head)
    yield Weights("query", "query", head * fusion.qk_norm)
    yield Weights("key", "key", head * fusion.qk_norm)
    pairs = workload.image_pairs(fusion.sees == "last_image") * visual_tokens
    yield Attention(("query", "key", "value"), "attended", pairs, heads * head)
    yield Linear("attended", ("branch",), rows, heads * head, width)
    yield Weights("branch", "stream", gate)
    if fusion.feed_forward:
        yield Weights("stream", "normed", norm)
        if fusion.flavour == "flamingo":
            yield Linear("normed", ("hidden",), rows, width, 4 * width)
            yield Linear("hidden", ("branch",), rows, 4 * width, width)
        else:
            yield from gated("normed", "branch", rows, width, intermediate, width)
        yield Weights("branch", "stream", gate)


def require_place_for_adaptors(adapters: Adapters | None, config: Mapping[str, Any]) -> None:
    """Refuse adaptors between blocks of a language model that run ``side_by_side``."""
    if isinstance(adapters, AdaptorSettings) and "attention" in adapters.places and side_by_side(config):
        raise HarnessError(
            f"the language model ({config['model_type']}) runs attention and feed-forward block side by side: no "
            "adaptor can stand between them",
            remedy="set adaptor.placement to feed_forward",
        )


def adaptor_operations(settings: AdaptorSettings, width: int, rows: int) -> Iterator[Operation]:
    """One bottleneck adaptor on a residual stream of ``width``."""
    inner = settings.inner(width)
    yield Weights("stream", "adaptor_normed", 2 * width)
    yield Linear("adaptor_normed", ("adaptor_hidden",), rows, width, inner, True)
    yield Linear("adaptor_hidden", ("stream",), rows, inner, width, True)
    yield Weights("stream", "stream", int(settings.gated))


def _visible_pairs(length: int, window: int | None) -> int:
    span = length if window is None else min(length, window)
    return span * (span + 1) // 2 + (length - span) * span


def _visible_images(length: int, images: float, last_only: bool) -> float:
    return length * (min(images, 1.0) if last_only else (images + 1) / 2 if images else 0.0)


def _side(size: Any) -> int:
    return size if isinstance(size, int) else size[0]


def _vision_type(config: Mapping[str, Any]) -> str:
    """The type of an encoder; of a two-tower model's config that of its vision half."""
    kind = str(config.get("model_type", ""))
    half = config.get("vision_config")
    return kind if half is None else str(half.get("model_type", f"{kind}_vision_model"))


def vision_family_of(config: Mapping[str, Any]) -> VisionFamily:
    """The family of an encoder's ``config.json``. Raises HarnessError where it is not known."""
    return vision_family(_vision_type(config))


def language_family_of(config: Mapping[str, Any]) -> LanguageFamily:
    """The family of a language model's ``config.json``. Raises HarnessError where it is not known."""
    return language_family(str(config.get("model_type", "")))


def _vision_values(config: Mapping[str, Any]) -> Mapping[str, Any]:
    own = config.get("vision_config", config)
    if own.get("use_swiglu_ffn"):
        raise HarnessError(
            "parameters and FLOPs of an encoder with gated feed-forward blocks are not known",
            remedy="use an encoder without them, such as the base and large models of DINOv2",
        )
    return {**vision_family_of(config).defaults, **own}


def _language_values(config: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**language_family_of(config).defaults, **config}
