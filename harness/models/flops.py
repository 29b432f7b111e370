"""Parameters and FLOPs of a VLM from its configs alone; importing this loads neither torch nor transformers.

FLOPs are those of matrix products, two for a multiplication with its addition; attention counts visible pairs only.
For a product with forward cost F, training adds F when the weight is trained (its gradient) and F when a gradient must
reach its input. So a trained weight costs 3F, a frozen one that gradients pass through 2F, a frozen one upstream of
everything trained 1F, and the first trained layer 2F. Both products of attention have a gradient for either factor
that leads to something trained. Recomputation is not counted: these are the model's FLOPs, not the hardware's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.models.architecture import (
    Workload,
    adaptor_operations,
    decoder_operations,
    language_layers,
    language_width,
    language_widths,
    require_place_for_adaptors,
    vision_grid,
    vision_layers,
    vision_operations,
    vision_tokens,
    vision_width,
)
from harness.models.connectors.matching import matched
from harness.models.connectors.operations import connector_operations
from harness.models.experts.descriptions import expert_operations
from harness.models.experts.settings import NO_EXPERTS, ExpertsSettings
from harness.models.operations import Attention, Ends, Linear, Mark, Operation, Product, Weights
from harness.models.settings import (
    COMPONENTS,
    Adapters,
    AdaptorSettings,
    Component,
    ConnectorSettings,
    FusionSettings,
    LoraSettings,
    Tuning,
    TuningMode,
    as_mapping,
    within,
)


@dataclass(frozen=True)
class ByComponent:
    """A count for each component."""

    vision: int
    connector: int
    language: int
    fusion: int = 0
    experts: int = 0

    @property
    def total(self) -> int:
        """Sum over components."""
        return self.vision + self.connector + self.language + self.fusion + self.experts

    def __getitem__(self, component: Component) -> int:
        return getattr(self, component)


@dataclass(frozen=True)
class ParameterCounts:
    """All parameters, adapters included, and those that are trained; tied matrices count once."""

    all: ByComponent
    trainable: ByComponent


@dataclass(frozen=True)
class VLMCosts:
    """What a design costs. ``vision`` and ``language`` are the backbones' ``config.json`` as dictionaries."""

    vision: Mapping[str, Any]
    language: Mapping[str, Any]
    connector: ConnectorSettings
    fusion: FusionSettings
    image_size: int
    experts: ExpertsSettings = NO_EXPERTS

    @classmethod
    def of(
        cls,
        model: Any,
        vision: Mapping[str, Any],
        language: Mapping[str, Any],
        adapter: Mapping[str, Any] | None = None,
    ) -> VLMCosts:
        """Of the section ``model`` of a config (the spec's ``ModelConfig`` or a mapping).

        ``adapter``: the ``config.json`` of ``connector.backbone``, where the connector has one.
        """
        settings = as_mapping(model)
        connector = ConnectorSettings.of(as_mapping(settings["connector"]))
        if adapter is not None:
            connector = replace(connector, backbone_config=adapter)
        fusion = FusionSettings.of(as_mapping(settings["fusion"]))
        experts = ExpertsSettings.of(as_mapping(settings.get("experts") or {}))
        return cls(vision, language, connector, fusion, as_mapping(settings["image"])["size"], experts)

    @property
    def visual_tokens(self) -> int:
        """Visual tokens an image, as the connector makes them."""
        return self.connector.tokens_per_image(self._read_grid)

    @property
    def placeholders(self) -> int:
        """Places that an image takes in the language model's sequence."""
        return self.fusion.placeholders_per_image(self.visual_tokens)

    @property
    def matched_connector(self) -> ConnectorSettings:
        """The connector with the width that ``connector.parameters`` leads to, where it is asked for."""
        return matched(self.connector, self._connector_widths, self._read_grid)

    @property
    def _read_grid(self) -> tuple[int, int]:
        """The grid of what the connector reads: of the patches, or one row of all tokens where there are experts."""
        return self.experts.grid(vision_grid(self.vision, self.image_size))

    @property
    def _connector_widths(self) -> tuple[int, int, int]:
        vision, (language, intermediate) = vision_width(self.vision), language_widths(self.language)
        return vision, self.fusion.connector_width(vision, language), intermediate

    def parameters(self, tuned: Tuned) -> ParameterCounts:
        """Parameters under a tuning, adapters included."""
        everything = dict.fromkeys(COMPONENTS, 0)
        trainable = dict.fromkeys(COMPONENTS, 0)
        for component, operation, training in self._walk(Workload((1,), 1, 1), tuned):
            count, trained = _parameters(operation, training)
            everything[component] += count
            trainable[component] += trained
        return ParameterCounts(ByComponent(**everything), ByComponent(**trainable))

    def forward_flops(self, workload: Workload) -> ByComponent:
        """FLOPs of one forward, adapters aside; the language model's head runs at ``workload.supervised`` tokens."""
        return self.training_flops(workload, Tuned(Tuning("frozen", "frozen", "frozen", "frozen", "frozen")))

    def training_flops(self, workload: Workload, tuned: Tuned, cached_features: bool = False) -> ByComponent:
        """FLOPs of one forward and backward; with ``cached_features`` the encoder does not run."""
        counts = dict.fromkeys(COMPONENTS, 0)
        needs: dict[str, bool] = {}  # does what is on a stream lead back to something trained?
        for component, operation, training in self._walk(workload, tuned):
            if component in ("vision", "experts") and cached_features:
                continue
            counts[component] += _flops(operation, training, needs)
        return ByComponent(**counts)

    def _walk(self, workload: Workload, tuned: Tuned) -> Iterator[tuple[Component, Operation, _Training]]:
        """Everything in the order of the forward pass, bottleneck adaptors in their places, and how it is trained."""
        require_place_for_adaptors(tuned.adapters.get("language"), self.language)
        sizes = {
            "vision": (vision_layers(self.vision), vision_width(self.vision)),
            "language": (language_layers(self.language)[0], language_width(self.language)),
        }
        rows = {"vision": workload.images * vision_tokens(self.vision, self._read_grid), "language": workload.tokens}
        layer: dict[Component, int | None] = dict.fromkeys(COMPONENTS)
        for component, operation in self._operations(workload):
            depth, width = sizes.get(component, (0, 0))
            adapters = tuned.adapters.get(component)
            if not isinstance(operation, Mark):
                yield component, operation, _Training.of(tuned, component, layer[component], depth)
                continue
            if operation.part == "begin":
                layer[component] = operation.layer
            place = "feed_forward" if operation.part == "end" else operation.part
            if (
                isinstance(adapters, AdaptorSettings)
                and place in adapters.places
                and within(adapters.depths, operation.layer, depth)
            ):
                mode: TuningMode = "full" if tuned.tuning[component] == "adaptor" else "frozen"
                for own in adaptor_operations(adapters, width, rows[component]):
                    yield component, own, _Training(mode, None)
            if operation.part == "end":
                layer[component] = None

    def _operations(self, workload: Workload) -> Iterator[tuple[Component, Operation | Mark]]:
        """The model without adapters."""
        grid, read = vision_grid(self.vision, self.image_size), self._read_grid
        tokens = read[0] * read[1]
        for operation in vision_operations(self.vision, self.image_size, workload.images, tokens):
            if not isinstance(operation, Mark) or operation.part != "embedded":
                yield "vision", operation
            elif self.experts.kinds:
                width, patches = vision_width(self.vision), grid[0] * grid[1]
                for own in expert_operations(self.experts, width, patches, workload.images):
                    yield "experts", own
        yield "connector", Ends(("stream",))
        for own in connector_operations(self.connector, self._connector_widths, read, workload.images):
            yield "connector", own
        if self.fusion.kind != "autoregressive":
            # Visual tokens go beside the sequence, which begins with embeddings of words.
            yield "connector", Weights("stream", "memory", 0)
            yield "connector", Ends(("memory",))
        else:
            yield "connector", Ends(("stream",))
            if self.fusion.image_delimiters:
                yield "fusion", Weights("stream", "stream", 2 * self._connector_widths[1])
        yield from decoder_operations(
            self.language, self.fusion, self._connector_widths[1], self.visual_tokens, workload
        )


@dataclass(frozen=True)
class Tuned:
    """A tuning and the adapters that components carry under it, those of earlier phases included."""

    tuning: Tuning
    carried: tuple[tuple[Component, Adapters], ...] = ()

    @classmethod
    def of(
        cls,
        tuning: Tuning,
        lora: LoraSettings | None = None,
        adaptor: AdaptorSettings | None = None,
        before: Mapping[Component, Adapters] | None = None,
    ) -> Tuned:
        """With the adapters that components carried ``before``, and those that the tuning needs beside them."""
        found = dict(before or {})
        for component in COMPONENTS:
            own = tuning.adapters(component, lora or LoraSettings(), adaptor or AdaptorSettings())
            if own is not None:
                found.setdefault(component, own)
        return cls(tuning, tuple(found.items()))

    @property
    def adapters(self) -> dict[Component, Adapters]:
        """The adapters of each component that has any."""
        return dict(self.carried)


@dataclass(frozen=True)
class _Training:
    """How an operation is trained, and the low-rank adapters beside it."""

    mode: TuningMode
    lora: LoraSettings | None

    @classmethod
    def of(cls, tuned: Tuned, component: Component, layer: int | None, layers: int) -> _Training:
        adapters = tuned.adapters.get(component)
        lora = adapters if isinstance(adapters, LoraSettings) and within(adapters.depths, layer, layers) else None
        return cls(tuned.tuning.mode(component, layer, layers), lora)


def _parameters(operation: Operation, training: _Training) -> tuple[int, int]:
    """All and trained parameters of an operation."""
    if isinstance(operation, Attention | Product | Ends):
        return 0, 0
    mode, lora = training.mode, training.lora
    if isinstance(operation, Weights):
        learns = (mode == "full" and not operation.unused) or (mode == "norm" and operation.norm)
        return operation.parameters, operation.parameters * learns
    adapter = 0
    if operation.adaptable and lora is not None:
        adapter = lora.rank * (operation.inputs + operation.outputs) + lora.magnitudes * operation.outputs
    trained = {"full": operation.parameters, "lora": adapter, "dora": adapter}.get(mode, 0)
    return operation.parameters + adapter, trained


def _flops(operation: Operation, training: _Training, needs: dict[str, bool]) -> int:
    """FLOPs of an operation; ``needs``, which is brought up to date, says which streams need a gradient."""
    mode, lora = training.mode, training.lora
    if isinstance(operation, Ends):
        for stream in needs.keys() - set(operation.survivors):
            del needs[stream]
        return 0
    if isinstance(operation, Weights):
        learns = ((mode == "full" and not operation.unused) or (mode == "norm" and operation.norm)) and bool(
            operation.parameters
        )
        needs[operation.writes] = needs.get(operation.writes, False) or needs.get(operation.reads, False) or learns
        return 0
    if isinstance(operation, Attention):
        query, key, value = (needs.get(stream, False) for stream in operation.reads)
        needs[operation.writes] = needs.get(operation.writes, False) or query or key or value
        # scores: a gradient for queries and one for keys; weighted sum: one for the weights, one for values
        return operation.product * (2 + query + key + (query or key) + value)
    if isinstance(operation, Product):
        left, right = (needs.get(stream, False) for stream in operation.reads)
        needs[operation.writes] = needs.get(operation.writes, False) or left or right
        return operation.product * (1 + left + right)  # a factor's gradient is a product with the other factor
    reads = needs.get(operation.reads, False)
    total = operation.product * (1 + (mode == "full") + reads)
    if operation.adaptable and lora is not None:
        into = 2 * operation.rows * operation.inputs * lora.rank
        out = 2 * operation.rows * lora.rank * operation.outputs
        learns = mode in ("lora", "dora")
        total += into * (1 + learns + reads) + out * (1 + learns + (learns or reads))
        # DoRA divides by the norms of the adapted matrix, for which peft multiplies its two factors out.
        total += lora.magnitudes * 2 * operation.inputs * lora.rank * (operation.inputs + operation.outputs)
    for stream in operation.writes:
        needs[stream] = needs.get(stream, False) or reads or _learns(operation, training)
    return total


def _learns(operation: Linear, training: _Training) -> bool:
    if training.mode == "full":
        return True
    return training.mode in ("lora", "dora") and operation.adaptable and training.lora is not None
