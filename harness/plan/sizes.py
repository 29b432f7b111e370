"""What follows from the configs alone: parameters, visual tokens, FLOPs and pictures of a plan's stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property

from harness.models.architecture import Workload
from harness.models.flops import Tuned, VLMCosts
from harness.models.settings import Adapters, AdaptorSettings, Component, LoraSettings, Tuning
from harness.plan.captioner import captioner
from harness.plan.data import DataSource, image_size, tiles
from harness.plan.graph import Plan, Run
from harness.plan.weights import Backbones
from harness.spec import Config, ModelConfig, PhaseConfig, TaskConfig
from harness.spec.schema import SplittingConfig
from harness.store import Stage

PAIR_TOKENS, EXAMPLE_TOKENS = 97, 15
"""Text tokens that come with an image: a caption and six questions in a pair, one question in an interleaved document
or a demonstration (counted over the microworld with the zoo's tokenizer).
"""

SUPERVISED = 0.28
"""Share of those that are answers or captions."""

CANDIDATE_TOKENS = 2
"""Tokens of a ranked answer."""

QUESTIONS, CAPTION_TOKENS, CAPTION_SUPERVISED = 6, 16, 13
"""A pair has so many questions in these counts; without any its caption has so many tokens, most of them supervised."""

PAGE_TOKENS: Mapping[str, tuple[int, float]] = {"transcriptions": (28, 0.79), "document_questions": (67, 0.24)}
"""Text tokens that come with a page, and the share of them that is supervised (counted likewise)."""

UNKNOWN_IMAGES = 10_000
"""Images of a data folder whose number is not known before it is read."""


@dataclass(frozen=True)
class VariantCost:
    """What one run of a variant has: parameters, visual tokens an image (in evaluation, over all its views on average),
    training FLOPs over all phases.

    ``connector``: its parameters; ``matched``: the width that they were asked to decide on, by the key it is set with.
    """

    parameters: int
    trainable: int
    connector: int
    matched: Mapping[str, int]
    visual_tokens: int
    train_flops: int


@dataclass(frozen=True)
class Sizes:
    """What follows from the configs alone: costs by variant name, estimated FLOPs by stage id, and the number of
    pictures by the id of a stage that makes label maps of them.
    """

    variants: Mapping[str, VariantCost]
    flops: Mapping[str, int]
    pictures: Mapping[str, int]


def measure(plan: Plan) -> Sizes:
    """The sizes of a plan."""
    models = _Models(plan.backbones)
    designs: dict[str, _Design] = {}
    flops: dict[str, int] = {}
    pictures: dict[str, int] = {}
    for run in plan.runs:
        if run.variant.name not in designs:
            designs[run.variant.name] = _Design(plan, run, models)
        flops.update(designs[run.variant.name].flops_of(run))
        pictures.update(designs[run.variant.name].labelled)
    return Sizes({name: design.variant_cost() for name, design in designs.items()}, flops, pictures)


class _Models:
    """The counters of a plan's models: variants that share a model and differ in its training count alike."""

    def __init__(self, backbones: Backbones) -> None:
        self._backbones = backbones
        self._found: dict[str, _Counter] = {}
        self._by_section: dict[int, tuple[ModelConfig, _Counter]] = {}

    def counter(self, model: ModelConfig) -> _Counter:
        """The counter of a model, equal models have one."""
        known = self._by_section.get(id(model))
        if known is None:
            text = model.model_dump_json()
            if text not in self._found:
                vision = self._backbones.resolve(model.vision.backbone)
                language = self._backbones.resolve(model.language.backbone)
                name = model.connector.backbone
                adapter = None if name is None else self._backbones.resolve(name).config
                self._found[text] = _Counter(VLMCosts.of(model, vision.config, language.config, adapter))
            known = (model, self._found[text])
            self._by_section[id(model)] = known
        return known[1]

    def captioner(self, model: ModelConfig) -> ModelConfig:
        """The model that the alignment phases of a model train."""
        name = model.connector.backbone
        assert name is not None  # only models with an adapter have such phases
        return captioner(model, self._backbones.resolve(name))


class _Counter:
    """Parameters and FLOPs of one model, each question answered once."""

    def __init__(self, costs: VLMCosts) -> None:
        self.visual_tokens = costs.visual_tokens
        self.placeholders = costs.placeholders
        self.matched = _matched(costs)
        self.parameters = cache(costs.parameters)
        self.training_flops = cache(costs.training_flops)
        self.forward_flops = cache(costs.forward_flops)


def _matched(costs: VLMCosts) -> Mapping[str, int]:
    if costs.connector.parameters is None:
        return {}
    was, now = asdict(costs.connector), asdict(costs.matched_connector)
    return {key: now[key] for key in now if now[key] != was[key] and key != "parameters"}


class _Design:
    """FLOPs and parameters of a variant; its seeds cost the same."""

    def __init__(self, plan: Plan, run: Run, models: _Models) -> None:
        self._config: Config = run.variant.config
        self._models = models
        self._cached = ["features" in plan.stages[stage_id].inputs for stage_id in run.train]
        first = next(iter(run.evaluate.values()), "")
        self._evaluates_features = bool(first) and "features" in plan.stages[first].inputs
        prepared = {stage_id: plan.stages[stage_id] for stage_id in run.features}
        self._encoded = {key: _encoded(stage) for key, stage in prepared.items() if stage.kind == "features"}
        pools = {key: stage.config["images"] for key, stage in prepared.items() if stage.kind == "experts"}
        self.labelled = {key: self._pictures.get(pool, UNKNOWN_IMAGES) for key, pool in pools.items()}

    def variant_cost(self) -> VariantCost:
        """What a run of the variant has."""
        own = self._at(self._config.model.image.size)
        total = trainable = connector = 0
        for phase, tuned in self._phases:
            if phase.trains == "adapter":
                continue  # another model, of which the head does not stay
            counts = own.parameters(tuned)
            total, trainable = max(total, counts.all.total), max(trainable, counts.trainable.total)
            connector = max(connector, counts.all.connector)
        read = round(self._at(image_size(self._config)).visual_tokens * self._views_in_evaluation)
        return VariantCost(total, trainable, connector, own.matched, read, sum(self._train))

    def flops_of(self, run: Run) -> dict[str, int]:
        """FLOPs by stage id of a run of the variant."""
        flops = {stage_id: self._encoding[encoded] for stage_id, encoded in self._encoded.items()}
        flops.update(dict.fromkeys(self.labelled, 0))
        flops.update(zip(run.train, self._train, strict=True))
        flops.update((stage_id, self._evaluation[task]) for task, stage_id in run.evaluate.items())
        for evaluate in run.curve.values():  # without controls
            asked = self._config.evaluation.tasks.items()
            flops.update((evaluate[task], self._evaluation_flops(entry, 1)) for task, entry in asked)
        return flops

    def _at(self, size: int, aligning: bool = False) -> _Counter:
        """The counter of the model, or of the captioner that aligns its adapter, when it takes images of this size."""
        model = self._models.captioner(self._config.model) if aligning else self._config.model
        if size != model.image.size:
            model = model.model_copy(update={"image": model.image.model_copy(update={"size": size})})
        return self._models.counter(model)

    @cached_property
    def _pictures(self) -> Mapping[str, int]:
        return DataSource().images(self._config.data) or {}

    @cached_property
    def _encoding(self) -> dict[_Encoded, int]:
        flops = {}
        for encoded in set(self._encoded.values()):
            pool, size, splitting = encoded
            pictures = self._pictures.get(pool, UNKNOWN_IMAGES)
            views = pictures if splitting is None else round(pictures * tiles(splitting, self._config, size))
            flops[encoded] = self._at(size).forward_flops(Workload((1,), views, 0)).vision
        return flops

    @property
    def _views_in_evaluation(self) -> float:
        """Views an image, on average."""
        return 1 + tiles(self._config.evaluation.splitting, self._config, image_size(self._config))

    @cached_property
    def _train(self) -> list[int]:
        cached = zip(self._phases, self._cached, strict=True)
        names = self._config.phases
        return [
            self._phase_flops(phase, image_size(self._config, name), tuned, is_cached)
            for name, ((phase, tuned), is_cached) in zip(names, cached, strict=True)
        ]

    @cached_property
    def _evaluation(self) -> dict[str, int]:
        evaluation = self._config.evaluation
        conditions = 1 + sum(control != "majority" for control in evaluation.controls)
        return {task: self._evaluation_flops(entry, conditions) for task, entry in evaluation.tasks.items()}

    @cached_property
    def _phases(self) -> Sequence[tuple[PhaseConfig, Tuned]]:
        """Each phase with its tuning and the adapters that components carry, those of earlier phases included."""
        phases: list[tuple[PhaseConfig, Tuned]] = []
        carried: dict[Component, Adapters] = {}
        for phase in self._config.phases.values():
            aligning = phase.trains == "adapter"
            tuned = Tuned.of(
                Tuning.of(phase.tuning.model_dump()),
                LoraSettings.of(phase.lora.model_dump()),
                AdaptorSettings.of(phase.adaptor.model_dump()),
                carried,
            )
            carried = {} if aligning else tuned.adapters
            phases.append((phase, tuned))
        return phases

    def _phase_flops(self, phase: PhaseConfig, size: int, tuned: Tuned, cached: bool) -> int:
        total = 0.0
        costs = self._at(size, phase.trains == "adapter")
        views_each = 1 + phase.splitting.share * tiles(phase.splitting, self._config, size)
        documents = (
            (phase.mixture.pairs, 1, *pair_tokens(phase.questions_per_image), 1 + phase.questions_per_image),
            (phase.mixture.interleaved, phase.examples_per_document, EXAMPLE_TOKENS, SUPERVISED, 1),
            *((getattr(phase.mixture, source), 1, *told, 1) for source, told in PAGE_TOKENS.items()),
        )
        for share, images, text, told, answers in documents:
            if share:
                views = round(images * views_each)
                visual = views * costs.placeholders
                prompts: tuple[int, ...] = ()
                if phase.objective == "prefix":
                    asked = round(text * (1 - told) / answers)
                    prompts = (visual // images + asked, *(asked,) * (answers - 1)) * images
                work = Workload((visual + images * text,), views, round(images * text * told), prompts)
                flops = costs.training_flops(work, tuned, cached)
                total += share * flops.total
        return round(total * phase.steps * phase.batch_size)

    def _evaluation_flops(self, task: TaskConfig, conditions: int) -> int:
        """Each condition of the model reads every query once; demonstration sets are read once and shared."""
        evaluation = self._config.evaluation
        new, views = task.max_new_tokens, round(self._views_in_evaluation)
        if task.answers == "rank":
            new = CANDIDATE_TOKENS * min(task.shortlist, task.candidates)
        tokens = views * self._at(image_size(self._config)).placeholders
        last = list(self._config.phases.values())[-1]
        prompt = (tokens + EXAMPLE_TOKENS,) if last.objective == "prefix" else ()
        queries = Workload((tokens + EXAMPLE_TOKENS + new,), views, new, prompt)
        shots = evaluation.shots
        demonstrations = Workload((shots * (tokens + EXAMPLE_TOKENS),), shots * views, 0, prompt * shots)
        counts = [(task.samples, queries), (evaluation.demonstration_sets, demonstrations)]
        return conditions * sum(count * self._forward(work) for count, work in counts if work.tokens)

    def _forward(self, work: Workload) -> int:
        flops = self._at(image_size(self._config)).forward_flops(work)
        return flops.total - (flops.vision if self._evaluates_features else 0)


def pair_tokens(questions: int) -> tuple[int, float]:
    """Text tokens of a pair with so many questions besides its caption, and the share of them that is supervised."""
    part = questions / QUESTIONS
    tokens = round(CAPTION_TOKENS + part * (PAIR_TOKENS - CAPTION_TOKENS))
    return tokens, (CAPTION_SUPERVISED + part * (PAIR_TOKENS * SUPERVISED - CAPTION_SUPERVISED)) / tokens


_Encoded = tuple[str, int, SplittingConfig | None]


def _encoded(stage: Stage) -> _Encoded:
    """The images that a features stage encodes, their size, and how they are cut when it encodes their tiles."""
    splitting = stage.config.get("splitting")
    cut = None if splitting is None else SplittingConfig.model_validate(splitting)
    return stage.config["images"], stage.config["image"]["size"], cut
