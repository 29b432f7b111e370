"""How a phase of training runs; a phase is the ``training`` section with its own keys merged over it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from harness.spec.schema.base import (
    ADDITION,
    Count,
    NonNegativeNumber,
    Positive,
    PositiveNumber,
    Section,
    Share,
)
from harness.spec.schema.splitting import TrainingSplittingConfig

Depths = Annotated[tuple[Share, Share], Field(strict=False)]
PartTuning = Literal["frozen", "lora", "dora", "full"]
CaptionSource = Literal["human", "alt_text", "synthetic"]
BackboneTuning = Literal["frozen", "lora", "dora", "adaptor", "norm", "full"]


class TuningConfig(Section):
    """What is trained of each component: nothing, adapters (``lora``, ``dora``, ``adaptor``), norms, or everything.

    ``fusion``: the blocks of cross-attention; ``experts``: stems and resampler of label maps; null trains them fully.
    ``vision_layers`` and ``language_layers``
    restrict the tuning of a backbone to a range of its layers, as shares of its depth: ``[0.5, 1.0]`` is the upper
    half; the rest of it stays frozen.
    """

    vision: BackboneTuning
    connector: PartTuning
    language: BackboneTuning
    fusion: Annotated[PartTuning | None, ADDITION] = None
    experts: Annotated[Literal["frozen", "full"] | None, ADDITION] = None
    vision_layers: Annotated[Depths | None, ADDITION] = None
    language_layers: Annotated[Depths | None, ADDITION] = None


class LoraConfig(Section):
    """LoRA adapters (Hu et al. 2021), for the components whose tuning is ``lora``."""

    rank: Positive = 16
    alpha: PositiveNumber = 32.0
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0


class AdaptorConfig(Section):
    """Bottleneck adaptors (Houlsby et al. 2019; Prismer), for the backbones whose tuning is ``adaptor``.

    ``ratio``: their inner width over the backbone's; ``placement``: after attention, after the feed-forward block, or
    both; ``gated``: behind a tanh gate that starts closed.
    """

    ratio: PositiveNumber = 1.0
    placement: Literal["attention", "feed_forward", "both"] = "attention"
    gated: bool = False


class ComponentSteps(Section):
    """A number of steps for each component; null: that of all."""

    vision: Count | None = None
    connector: Count | None = None
    language: Count | None = None
    fusion: Count | None = None
    experts: Annotated[Count | None, ADDITION] = None


class ComponentNumbers(Section):
    """A number for each component; null: that of all."""

    vision: NonNegativeNumber | None = None
    connector: NonNegativeNumber | None = None
    language: NonNegativeNumber | None = None
    fusion: NonNegativeNumber | None = None
    experts: Annotated[NonNegativeNumber | None, ADDITION] = None


class LearningRates(Section):
    """Peak learning rate of each component; unread for a frozen one, positive for any other.

    ``fusion``: of the blocks of cross-attention; ``experts``: of what reads label maps; null takes the connector's.
    """

    vision: NonNegativeNumber = 0.0
    connector: NonNegativeNumber = 0.0
    language: NonNegativeNumber = 0.0
    fusion: Annotated[PositiveNumber | None, ADDITION] = None
    experts: Annotated[PositiveNumber | None, ADDITION] = None


class ScheduleConfig(Section):
    """Learning rate over the steps of a phase: linear warm-up, then ``kind`` down to ``final_ratio`` of the peak.

    ``warmup_of``: of single components. ``delay_of``: steps for which a component stands still before its own warm-up
    begins (gradual unfreezing).
    """

    kind: Literal["cosine", "linear", "constant"]
    warmup_steps: Count
    final_ratio: Share
    warmup_of: Annotated[ComponentSteps, ADDITION] = ComponentSteps()
    delay_of: Annotated[ComponentSteps, ADDITION] = ComponentSteps()


class OptimizerConfig(Section):
    """AdamW (Loshchilov & Hutter 2019); ``weight_decay_of``: of single components."""

    betas: Annotated[tuple[Share, Share], Field(strict=False)]
    epsilon: PositiveNumber
    weight_decay: NonNegativeNumber
    weight_decay_of: Annotated[ComponentNumbers, ADDITION] = ComponentNumbers()


class MixtureConfig(Section):
    """Share of each kind of document in the training data; the shares sum to 1.

    ``transcriptions``: text-rich pictures with the text on them; ``document_questions``: such pictures with questions
    and answers.
    """

    pairs: Share
    interleaved: Share
    transcriptions: Annotated[Share, ADDITION] = 0.0
    document_questions: Annotated[Share, ADDITION] = 0.0


class RandomnessConfig(Section):
    """What the random numbers of a run come from, beside its seed.

    ``replicate`` is inert: variants that differ in it alone are one design, trained with other random numbers though
    the seed be the same. It is there to measure what a difference means (``ablations/aa.yaml``).
    """

    replicate: Annotated[int, Field(ge=0, lt=2**31)] = 0


class TrainingConfig(Section):
    """One optimisation setting.

    ``batch_size`` counts documents a step over all ranks, ``micro_batch_size`` documents a forward pass,
    ``max_length`` tokens a row of whole documents, which never attend to each other; ``precision`` is that of
    activations (``bfloat16``: autocast) and ``matmul_precision`` torch's setting for products of float32 matrices
    (``medium`` multiplies in bfloat16 where the processor can); ``examples_per_document`` is the number of solved
    examples (each with its image) of an interleaved document, or of the pictures of one that is plain, whose text ends
    after ``text_tokens_per_document`` unless that is null; ``captions`` says whose captions of the pairs are
    trained on and ``questions_per_image`` how many solved questions a picture has at most, in
    pairs and in document questions; ``image_size`` replaces ``model.image.size``
    (the evaluation takes the last phase's); ``splitting`` of pictures into views; ``label_smoothing`` spreads that
    share of a label's weight over the vocabulary (the recorded loss is the smoothed one). With the ``objective``
    ``prefix`` the tokens of a prompt see each other in both directions (``docs/decoding.md``); the evaluation reads
    prompts as the last phase did.
    """

    ABSENT: ClassVar[Mapping[str, str]] = {"steps": "steps are those of a phase: write phases.NAME.steps"}
    """Keys that are looked for here, and where they are."""

    batch_size: Positive
    micro_batch_size: Positive
    tuning: TuningConfig
    lora: LoraConfig = LoraConfig()
    adaptor: Annotated[AdaptorConfig, ADDITION] = AdaptorConfig()
    learning_rate: LearningRates
    schedule: ScheduleConfig
    optimizer: OptimizerConfig
    clip_norm: PositiveNumber
    objective: Annotated[Literal["causal", "prefix"], ADDITION] = "causal"
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0), ADDITION] = 0.0
    precision: Literal["float32", "bfloat16"]
    matmul_precision: Literal["highest", "high", "medium"]
    max_length: Positive
    mixture: MixtureConfig
    examples_per_document: Positive
    text_tokens_per_document: Annotated[Positive | None, ADDITION] = None
    captions: Annotated[CaptionSource, ADDITION] = "human"
    questions_per_image: Annotated[Count, ADDITION] = 6
    image_size: Annotated[Positive | None, ADDITION] = None
    splitting: Annotated[TrainingSplittingConfig, ADDITION] = TrainingSplittingConfig()

    @model_validator(mode="before")
    @classmethod
    def _nothing_of_frozen_components(cls, data: Any) -> Any:
        # A level delays what a first phase freezes anyway: such phases are the same and shared.
        if not isinstance(data, dict) or not isinstance(data.get("tuning"), dict):
            return data
        frozen = {name for name, mode in data["tuning"].items() if mode == "frozen"}
        given = dict(data)
        for section, key in (("schedule", "warmup_of"), ("schedule", "delay_of"), ("optimizer", "weight_decay_of")):
            of = given[section].get(key) if isinstance(given.get(section), dict) else None
            if isinstance(of, dict) and frozen & of.keys():
                given[section] = given[section] | {key: {name: of[name] for name in of.keys() - frozen}}
        return given

    def unread(self) -> frozenset[str]:
        """Settings of adapters where nothing is tuned by them, the learning rates of frozen components, and what is
        said about pictures that are not in the mixture.
        """
        tuning = {name: getattr(self.tuning, name) for name in LearningRates.model_fields}
        names = {f"learning_rate.{name}" for name, mode in tuning.items() if mode == "frozen"}
        if not {"lora", "dora"} & set(tuning.values()):
            names.add("lora")
        if "adaptor" not in tuning.values():
            names.add("adaptor")
        if not self.mixture.interleaved:
            names.add("text_tokens_per_document")
        if not self.mixture.pairs:
            names.add("captions")
            if not self.mixture.document_questions:
                names.add("questions_per_image")
        return frozenset(names)


class PhaseConfig(TrainingConfig):
    """One leg of a training run: a complete setting and the number of optimiser ``steps``.

    ``trains: adapter``: not of the VLM itself but of the captioner that an aligned ``lm_adapter`` is taken from; such
    phases come first, and variants without an aligned adapter do not have them (``harness.spec.alignment``).
    """

    steps: Positive
    trains: Annotated[Literal["model", "adapter"], ADDITION] = "model"


def merge(base: Any, patch: Any) -> Any:
    """``patch`` over ``base``: mappings are merged key by key, everything else replaces what was there."""
    if not (isinstance(base, dict) and isinstance(patch, dict)):
        return patch
    merged = dict(base)
    for key, value in patch.items():
        merged[key] = merge(merged[key], value) if key in merged else value
    return merged


class PhasedSection(Section):
    """Mixed into a section with ``training`` and ``phases``: each phase is completed from the training defaults."""

    @model_validator(mode="before")
    @classmethod
    def _complete_phases(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        phases, training = data.get("phases"), data.get("training")
        if isinstance(training, TrainingConfig):
            training = training.model_dump()
        if not isinstance(phases, dict) or not isinstance(training, dict):
            return data
        complete = {name: merge(training, phase) for name, phase in phases.items()}
        return {**data, "phases": complete}
