"""From variants to a graph of stages: what has to be computed, each piece of work once.

Two variants that agree in everything a stage reads have the same stage id, so sharing needs no search: stages are
collected by id. The order is that of execution: the baseline first (differences need it), and all stages of a run
together, so that the first rows of the table are finished early; with several seeds, all variants with the first seed
before the next one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.models.architecture import language_family_of, vision_family_of
from harness.plan.captioner import captioner
from harness.plan.data import DataSource, image_size
from harness.plan.families import of_known_family
from harness.plan.milestones import Milestone, milestones
from harness.plan.needs import require
from harness.plan.preparations import Preparations
from harness.plan.weights import Backbone, Backbones
from harness.spec import Config, ModelConfig, Sweep, Variant, identity_part
from harness.spec.schema import PhaseConfig, RuntimeConfig, Section
from harness.spec.schema.execution import OF_A_STAGE
from harness.store import Stage

VERSIONS: Mapping[str, int] = {"train": 3, "evaluate": 2}
"""Bumped by hand when the results of a kind of stage change although its config does not."""


@dataclass(frozen=True)
class Run:
    """A variant with a training seed, and the ids of its stages.

    ``train`` has one stage a phase, in order; ``evaluate`` maps a task to its stage; ``features`` are the preparations
    that the other stages read: encoders' features, experts' label maps; ``curve`` maps steps of training to what
    ``evaluate`` was then (``plan.milestones``).
    """

    variant: Variant
    seed: int
    features: tuple[str, ...]
    train: tuple[str, ...]
    evaluate: Mapping[str, str]
    curve: Mapping[int, Mapping[str, str]] = field(default_factory=dict)

    @property
    def stages(self) -> tuple[str, ...]:
        """All stage ids in the order of execution."""
        earlier = (stage_id for evaluate in self.curve.values() for stage_id in evaluate.values())
        return (*self.features, *self.train, *self.evaluate.values(), *earlier)

    @property
    def name(self) -> str:
        """The variant and the seed, for people."""
        return f"{self.variant.name} seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """A sweep as runs and stages; ``stages`` are in the order of execution."""

    sweep: Sweep
    runs: tuple[Run, ...]
    stages: Mapping[str, Stage]
    backbones: Backbones = field(repr=False)

    def by_variant(self) -> dict[str, list[Run]]:
        """The runs of each variant by its name, in the order of execution."""
        found: dict[str, list[Run]] = {}
        for run in self.runs:
            found.setdefault(run.variant.name, []).append(run)
        return found

    def users(self) -> dict[str, list[Run]]:
        """The runs that need each stage."""
        found: dict[str, list[Run]] = {stage_id: [] for stage_id in self.stages}
        for run in self.runs:
            for stage_id in run.stages:
                found[stage_id].append(run)
        return found


def build(sweep: Sweep, backbones: Backbones | None = None, data: DataSource | None = None) -> Plan:
    """The plan of a sweep. Reads weights and the data's manifest for their digests; writes nothing but that cache.

    Raises ``HarnessError`` when a backbone or the data is not on this machine, with all that is missing.
    """
    builder = _Builder(backbones or Backbones(), data or DataSource())
    require(sweep, builder.backbones, builder.data)
    variants = sorted(sweep.variants, key=lambda variant: not variant.is_baseline)  # stable: else in the order given
    runs = tuple(builder.run(variant, seed) for seed in sweep.seeds for variant in variants)
    return Plan(sweep, runs, builder.stages, builder.backbones)


class _Builder:
    def __init__(self, backbones: Backbones, data: DataSource) -> None:
        self.backbones = backbones
        self.stages: dict[str, Stage] = {}
        self.data = data
        self._parts: dict[int, tuple[Section, dict[str, Any]]] = {}
        self._captioners: dict[int, tuple[ModelConfig, ModelConfig]] = {}
        self._prepared = Preparations(backbones, data, self._part, self._add)

    def run(self, variant: Variant, seed: int) -> Run:
        config = variant.config
        randomness = seed + config.randomness.replicate * 2**32  # a seed lies below 2^32
        vision = of_known_family(self.backbones.resolve(config.model.vision.backbone), vision_family_of)
        language = of_known_family(self.backbones.resolve(config.model.language.backbone), language_family_of)
        small = config.model.connector.backbone
        adapter = small and of_known_family(self.backbones.resolve(small), language_family_of)
        features: list[str] = []
        train: list[str] = []
        name = f"seed{seed}-{variant.name}"
        aligning = ""
        points = milestones(config)
        for phase_name, phase in config.phases.items():
            model, speaker, beside = config.model, language, adapter
            inputs = {"previous": train[-1]} if train else {}
            if phase.trains == "adapter":
                assert isinstance(adapter, Backbone)  # only such variants have the phase
                model, speaker, beside = self._captioner(config.model, adapter), adapter, None
            elif aligning:
                inputs = {"adapter": aligning}
            if self._prepared.uses_features(config, vision, phase_name):
                read = self._prepared.features(
                    config, vision, "training", image_size(config, phase_name), phase.splitting
                )
                inputs |= read
                features += read.values()
            maps = self._prepared.label_maps(config, "training")
            inputs |= maps
            features += maps.values()
            snapshots = [point.within for point in points if point.phase == phase_name and not point.is_end]
            stage = Stage(
                "train",
                VERSIONS["train"],
                {
                    "model": self._part(model),
                    "phase": self._part(phase),
                    "name": phase_name,
                    "seed": randomness,
                    **({"snapshots": snapshots} if snapshots else {}),
                },
                inputs,
                {
                    "data": self.data.digest(config.data),
                    "vision": vision.digest,
                    "language": speaker.digest,
                    **({"adapter": beside.digest} if beside else {}),
                },
                f"{phase_name}-{name}",
                {
                    **self.data.location(config.data),
                    "vision": str(vision.directory),
                    "language": str(speaker.directory),
                    **({"adapter": str(beside.directory)} if beside else {}),
                    **_execution(config.runtime),
                },
            )
            train.append(self._add(stage))
            aligning = train[-1] if phase.trains == "adapter" else ""
        trained = dict(zip(config.phases, train, strict=True))
        maps = self._prepared.label_maps(config, "evaluation")
        features += maps.values()
        found = []
        for point in (None, *points):
            phase_name = point.phase if point else list(config.phases)[-1]
            inputs = {"model": trained[phase_name], **maps}
            if self._prepared.uses_features(config, vision, phase_name):
                size = image_size(config, phase_name)
                read = self._prepared.features(config, vision, "evaluation", size, config.evaluation.splitting)
                inputs |= read
                features += read.values()
            tasks: tuple[str, ...] = tuple(config.evaluation.tasks)
            found.append({task: self._evaluate(config, task, randomness, inputs, name, point) for task in tasks})
        curve = {point.step: earlier for point, earlier in zip(points, found[1:], strict=True)}
        return Run(variant, seed, tuple(dict.fromkeys(features)), tuple(train), found[0], curve)

    def _captioner(self, model: ModelConfig, adapter: Backbone) -> ModelConfig:
        known = self._captioners.get(id(model))
        if known is None:
            known = (model, captioner(model, adapter))
            self._captioners[id(model)] = known
        return known[1]

    def _evaluate(
        self, config: Config, task: str, seed: int, inputs: Mapping[str, str], name: str, point: Milestone | None
    ) -> str:
        asked = self._part(config.evaluation)
        unread = {"tasks", "curve", *config.evaluation.unread_by(task)}
        common = {key: value for key, value in asked.items() if key not in unread}
        if point is not None:
            common |= {"controls": []} | ({} if point.is_end else {"step": point.within})
            name = f"step{point.step}-{name}"
        own = asked["tasks"][task]
        stage = Stage(
            "evaluate",
            VERSIONS["evaluate"],
            {"task": task, "seed": seed, **common, **own},
            inputs,
            {"data": self.data.digest(config.data)},
            f"{task}-{name}",
            {**self.data.location(config.data), **_execution(config.runtime, ("ranks",))},
        )
        return self._add(stage)

    def _part(self, section: Section | PhaseConfig) -> dict[str, Any]:
        """The section's part of an identity; variants share their sections, so each is written out once."""
        known = self._parts.get(id(section))
        if known is None:
            # Through JSON: what a stage holds must not share lists with what another one holds.
            known = (section, json.loads(json.dumps(identity_part(section))))
            self._parts[id(section)] = known
        return known[1]

    def _add(self, stage: Stage) -> str:
        self.stages.setdefault(stage.id, stage)
        return stage.id


def _execution(runtime: RuntimeConfig, told: Sequence[str] = OF_A_STAGE) -> dict[str, str]:
    """What a stage is told of how to run, where that differs from the defaults (``harness.train.execution``)."""
    defaults = RuntimeConfig()
    differing = {key: value for key in told if (value := getattr(runtime, key)) != getattr(defaults, key)}
    return {"runtime": json.dumps(differing, sort_keys=True)} if differing else {}
