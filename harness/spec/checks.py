"""What must hold between the fields of a config, beyond the type of each."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

from harness.spec.alignment import check_alignment, check_alignment_phase
from harness.spec.backbones import PREFIX, ZOO, known
from harness.spec.cluster_checks import check_cluster
from harness.spec.connectors import CONNECTORS
from harness.spec.expert_checks import check_expert_training, check_experts, check_ranks_of_experts
from harness.spec.finding import Finding
from harness.spec.images import check_images
from harness.spec.mixture import PAGES, check_mixture, check_page_labels, check_training_data
from harness.spec.place import Path
from harness.spec.report import nearest, shown, suggestion
from harness.spec.schema.base import Location
from harness.spec.schema.config import Config
from harness.spec.schema.data import MICROWORLD, DataConfig
from harness.spec.schema.evaluation import CAPTIONS, EvaluationConfig
from harness.spec.schema.model import ConnectorConfig, ModelConfig
from harness.spec.schema.splitting import SplittingConfig
from harness.spec.schema.training import LearningRates, PhaseConfig

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_PHASE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
METRIC_OF: Mapping[str, str] = {"cider-d": "coco", "anls": "docvqa"}
"""Metrics that score one task only, which no other metric scores."""


def check_model(model: ModelConfig) -> Iterator[Finding]:
    """Backbones that exist and play their part, an image that fits the patches, a connector that can be built."""
    yield from _check_backbone(model.vision.backbone, "vision", ("vision", "backbone"))
    yield from _check_backbone(model.language.backbone, "language", ("language", "backbone"))
    if model.connector.backbone is not None:
        yield from _check_backbone(model.connector.backbone, "language", ("connector", "backbone"))
    for kind, name in model.experts.models.named().items():
        yield from _check_backbone(name, "expert", ("experts", "models", kind))
    zoo = known(model.vision.backbone)
    grid = None
    if zoo is not None and zoo.role == "vision":
        if model.image.size % zoo.patch:
            near = max(1, round(model.image.size / zoo.patch)) * zoo.patch
            message = (
                f"{model.image.size} pixels cannot be cut into patches of {zoo.patch}, as {model.vision.backbone} does"
            )
            remedy = f"take a multiple of {zoo.patch}, such as {near}"
            yield Finding(("image", "size"), message, remedy, (("vision", "backbone"),))
        else:
            grid = model.image.size // zoo.patch
    yield from _check_connector(model.connector, grid)
    yield from check_experts(model)
    if model.image.aspect == "native" and not CONNECTORS[model.connector.kind].takes_mask:
        message = f"{model.connector.kind} cannot take images of several aspect ratios: it leaves no patch out"
        fitting = " or ".join(name for name, kind in CONNECTORS.items() if kind.takes_mask)
        remedy = f"take the connector {fitting}, or the aspect square, crop or letterbox"
        yield Finding(("image", "aspect"), message, remedy, (("connector", "kind"),))


def _check_backbone(backbone: str, role: str, path: Path) -> Iterator[Finding]:
    fitting = [PREFIX + name for name, zoo in ZOO.items() if zoo.role == role]
    if backbone.startswith(PREFIX) and not fitting:
        yield Finding(path, f"the zoo has no {role}s", "give a hub id, or a folder as ./… or /…")
    elif backbone.startswith(PREFIX):
        zoo = known(backbone)
        if zoo is None:
            yield Finding(path, f"there is no backbone {shown(backbone)}", suggestion(backbone, fitting, "in the zoo"))
        elif zoo.role != role:
            message = f"{backbone} is a {zoo.role} backbone, not a {role} backbone"
            yield Finding(path, message, f"in the zoo: {', '.join(fitting)}")
    elif not Location().is_path(backbone):
        close = difflib.get_close_matches(backbone, [name.removeprefix(PREFIX) for name in fitting], n=1, cutoff=0.75)
        if close or not _HUB_ID.fullmatch(backbone) or ".." in backbone:
            meant = nearest(PREFIX + backbone, fitting)
            remedy = f"did you mean {meant}?" if meant else "give zoo/NAME, a hub id, or a folder as ./… or /…"
            kind = "model" if role == "expert" else "backbone"
            yield Finding(path, f"there is no {kind} {shown(backbone)}", remedy)


def _check_connector(connector: ConnectorConfig, grid: int | None) -> Iterator[Finding]:
    kind = CONNECTORS[connector.kind]
    for check in kind.checks:
        yield from check(connector)
    yield from kind.tokens.findings(connector.kind, connector.num_tokens, grid)


def check_phases(phases: Mapping[str, PhaseConfig]) -> Iterator[Finding]:
    """At least one phase; each trains something, with micro-batches that fill its batch and shares that sum to 1."""
    if not any(phase.trains == "model" for phase in phases.values()):
        yield Finding((), "there is no phase to train", "add one, such as phases: {main: {steps: 300}}")
    for name, phase in phases.items():
        if not _PHASE_NAME.fullmatch(name):
            message = "a phase's name is a small letter and then small letters, digits, - or _"
            yield Finding((name,), message, "rename the phase", of_key=True)
        for found in _check_phase(phase):
            yield found.below((name,))


def _check_phase(phase: PhaseConfig) -> Iterator[Finding]:
    if phase.batch_size % phase.micro_batch_size:
        message = f"a batch of {phase.batch_size} cannot be cut into micro-batches of {phase.micro_batch_size}"
        near = max(n for n in range(1, phase.micro_batch_size + 1) if phase.batch_size % n == 0)
        remedy = f"set micro_batch_size to a divisor of {phase.batch_size}, such as {near}"
        yield Finding(("micro_batch_size",), message, remedy, (("batch_size",),))
    yield from check_mixture(phase.mixture)
    yield from _check_splitting(phase.splitting)
    yield from check_alignment_phase(phase)
    trained = [name for name in LearningRates.model_fields if getattr(phase.tuning, name) not in ("frozen", None)]
    if not trained:
        message = "everything is frozen: this phase would train nothing"
        others = tuple(("tuning", name) for name in LearningRates.model_fields)
        yield Finding(("tuning",), message, "set one component to full or lora", others)
    for name in trained:
        if getattr(phase.learning_rate, name) == 0.0:
            message = f"{name} is tuned ({getattr(phase.tuning, name)}) with a learning rate of 0"
            remedy = f"set a rate such as 1e-3, or tuning.{name}: frozen"
            yield Finding(("learning_rate", name), message, remedy, (("tuning", name),))
    for key in ("vision_layers", "language_layers"):
        depths = getattr(phase.tuning, key)
        if depths is not None and depths[0] >= depths[1]:
            message = f"there are no layers between {depths[0]:g} and {depths[1]:g} of the depth"
            yield Finding(("tuning", key), message, "take shares that rise, such as [0.5, 1.0] for the upper half")
    for name in trained:
        delay = getattr(phase.schedule.delay_of, name)
        if delay is not None and delay >= phase.steps:
            message = f"{name} is tuned and stands still for {delay} steps, all of the phase"
            remedy = f"take fewer than {phase.steps}, or tuning.{name}: frozen"
            yield Finding(("schedule", "delay_of", name), message, remedy, (("steps",), ("tuning", name)))


def _check_splitting(splitting: SplittingConfig) -> Iterator[Finding]:
    if splitting.kind == "grid" and splitting.longest_side is None:
        path = ("splitting", "longest_side")
        yield Finding(path, "missing: how large the pictures are when they are covered", "set it, such as 192")


def check_data(data: DataConfig) -> Iterator[Finding]:
    """A microworld that has its sizes; a folder whose name is not a misspelt ``microworld``."""
    if data.root == MICROWORLD:
        if data.microworld is None:
            yield Finding(("microworld",), "missing: the sizes of the microworld", "add data.microworld: {seed: 0, …}")
    elif difflib.get_close_matches(data.root.lower(), [MICROWORLD], n=1, cutoff=0.75) and not os.path.isdir(data.root):
        yield Finding(("root",), f"there is no data {shown(data.root)}", f"did you mean {MICROWORLD}?")


def check_evaluation(evaluation: EvaluationConfig) -> Iterator[Finding]:
    """At least one task, each under a metric that is defined for it; every control once."""
    yield from _check_splitting(evaluation.splitting)
    for position, (earlier, later) in enumerate(pairwise(evaluation.curve), 1):
        if later <= earlier:
            yield Finding(("curve", position), f"{later:g} does not follow {earlier:g}", "take shares that rise")
    if not evaluation.tasks:
        yield Finding(("tasks",), "there is no task to evaluate", "add one, such as tasks: {vqav2: {…}}")
    for name, task in evaluation.tasks.items():
        if METRIC_OF.get(task.metric, "") != (name if name in METRIC_OF.values() else ""):
            own = [metric for metric, only in METRIC_OF.items() if only == name]
            fitting = own[0] if own else "a VQA accuracy such as vqa-always"
            path = ("tasks", name, "metric")
            yield Finding(path, f"{task.metric} does not score {name}", f"take {fitting}")
        if task.answers == "rank" and name in CAPTIONS:
            message = f"the answers of {name} are no closed list that could be ranked"
            yield Finding(("tasks", name, "answers"), message, "set it to generate")
    for position, control in enumerate(evaluation.controls):
        if control in evaluation.controls[:position]:
            yield Finding(("controls", position), f"the control {control} is given twice", "remove one of the two")


CHECKS: Mapping[str, Callable[..., Iterator[Finding]]] = {
    "model": check_model,
    "phases": check_phases,
    "data": check_data,
    "evaluation": check_evaluation,
    "cluster": check_cluster,
}
"""The checks of each section of a config; those between sections are in ``JOINT_CHECKS``."""


def check_demonstrations(data: DataConfig, evaluation: EvaluationConfig) -> Iterator[Finding]:
    """Enough support scenes for the demonstrations; a world that has what the tasks ask about."""
    shown, key = evaluation.shots, "shots"
    if not shown:
        shown, key = evaluation.text_only_examples, "text_only_examples"
    if data.microworld is not None and shown > data.microworld.support_scenes:
        what = key.replace("_", " ").replace("text only", "text-only")
        message = f"{shown} {what} need as many support scenes, there are {data.microworld.support_scenes}"
        path = ("data", "microworld", "support_scenes")
        yield Finding(path, message, f"take at least {shown}", (("evaluation", key),))
    if data.microworld is not None and not data.microworld.train_pages and "docvqa" in evaluation.tasks:
        message = "the microworld has no pages to ask about"
        yield Finding(("evaluation", "tasks", "docvqa"), message, PAGES, (("data", "microworld", "train_pages"),))


def check_fusion(model: ModelConfig, phases: Mapping[str, PhaseConfig]) -> Iterator[Finding]:
    """How a fusion is trained is said where it has something to train, at a rate that exists."""
    for name, phase in phases.items():
        path, kind = ("phases", name), ("model", "fusion", "kind")
        if phase.trains == "adapter":
            continue  # the captioner's fusion is autoregressive whatever that of the VLM
        if model.fusion.kind == "autoregressive" and not model.fusion.image_delimiters:
            if phase.tuning.fusion is not None:
                message = "autoregressive fusion without image_delimiters has nothing to tune"
                remedy = "remove it, or set it with image_delimiters or cross_attention"
                yield Finding((*path, "tuning", "fusion"), message, remedy, (kind,))
            continue
        rateless = phase.tuning.connector == "frozen" or phase.learning_rate.connector == 0.0
        if phase.tuning.fusion != "frozen" and phase.learning_rate.fusion is None and rateless:
            what = "image_delimiters" if model.fusion.kind == "autoregressive" else "blocks of cross-attention"
            message = f"the {what} are trained at the connector's rate, which is not set"
            others = ((*path, "tuning", "connector"), kind)
            yield Finding((*path, "learning_rate"), message, "set learning_rate.fusion, such as 1e-3", others)


def check_training(model: ModelConfig, phases: Mapping[str, PhaseConfig]) -> Iterator[Finding]:
    """What phases have to agree with in the model."""
    yield from check_alignment(model, phases)
    yield from check_fusion(model, phases)
    yield from check_expert_training(model, phases)


JOINT_CHECKS: Mapping[tuple[str, ...], Callable[..., Iterator[Finding]]] = {
    ("data", "evaluation"): check_demonstrations,
    ("data", "phases"): check_training_data,
    ("model", "data", "phases", "evaluation"): check_page_labels,
    ("model", "phases"): check_training,
    ("model", "phases", "evaluation"): check_images,
    ("model", "phases", "runtime"): check_ranks_of_experts,
}
"""The checks of what must hold between sections; paths start at the config."""


def findings(config: Config) -> list[Finding]:
    """Everything that is wrong between the fields of a config that was built by hand; paths start at the config."""
    found = [
        finding.below((section,)) for section, check in CHECKS.items() for finding in check(getattr(config, section))
    ]
    for names, check in JOINT_CHECKS.items():
        found += check(*(getattr(config, name) for name in names))
    return found
