"""What must hold where an encoder is given label maps of experts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.spec.connectors import CONNECTORS
from harness.spec.finding import Finding
from harness.spec.place import Path
from harness.spec.schema.evaluation import EvaluationConfig
from harness.spec.schema.execution import RuntimeConfig
from harness.spec.schema.model import ModelConfig
from harness.spec.schema.training import PhaseConfig

_KINDS: Path = ("model", "experts", "kinds")


def check_experts(model: ModelConfig) -> Iterator[Finding]:
    """Each kind once, noise in maps that are read, a connector without a grid. Paths start at the section."""
    experts = model.experts
    for position, name in enumerate(experts.kinds):
        if name in experts.kinds[:position]:
            yield Finding(("experts", "kinds", position), f"the expert {name} is given twice", "remove one of the two")
    for name in experts.noise:
        if name not in experts.kinds or name == "noise":
            why = "is nothing but noise" if name == "noise" else "is not among the kinds"
            message = f"the expert {name} {why}: there is nothing to degrade"
            yield Finding(("experts", "noise", name), message, "remove it", (("experts", "kinds"),))
    if not experts.kinds:
        return
    if CONNECTORS[model.connector.kind].keeps_grid:
        message = f"{model.connector.kind} works on the grid of patches, which tokens of experts are not part of"
        fitting = " or ".join(name for name, kind in CONNECTORS.items() if not kind.keeps_grid)
        yield Finding(("connector", "kind"), message, f"take the connector {fitting}", (("experts", "kinds"),))
    if model.image.aspect != "square":
        message = f"label maps are brought to a square, images are {model.image.aspect}"
        yield Finding(("image", "aspect"), message, "set it to square", (("experts", "kinds"),))


def check_expert_training(model: ModelConfig, phases: Mapping[str, PhaseConfig]) -> Iterator[Finding]:
    """How experts are trained is said where there are some, at a rate that exists. Paths start at the config."""
    for name, phase in phases.items():
        path: Path = ("phases", name)
        if not model.experts.kinds:
            if phase.tuning.experts is not None:
                message = "there are no experts to tune"
                yield Finding((*path, "tuning", "experts"), message, "remove it, or set model.experts.kinds", (_KINDS,))
            continue
        rateless = phase.tuning.connector == "frozen" or phase.learning_rate.connector == 0.0
        if phase.tuning.experts != "frozen" and phase.learning_rate.experts is None and rateless:
            message = "the experts' stems and resampler are trained at the connector's rate, which is not set"
            others = ((*path, "tuning", "connector"), _KINDS)
            yield Finding((*path, "learning_rate"), message, "set learning_rate.experts, such as 1e-3", others)


def check_ranks_of_experts(
    model: ModelConfig, phases: Mapping[str, PhaseConfig], runtime: RuntimeConfig
) -> Iterator[Finding]:
    """The stems of experts have batch normalisation, whose statistics ranks do not share. Paths start at the config."""
    if runtime.ranks == 1 or not model.experts.kinds:
        return
    for name, phase in phases.items():
        if phase.tuning.experts != "frozen":
            message = f"the experts' stems have batch normalisation, which {runtime.ranks} ranks would each train alone"
            others = (_KINDS, ("phases", name, "tuning", "experts"))
            yield Finding(("runtime", "ranks"), message, "set it to 1, or freeze the experts", others)


def check_whole_pictures(
    model: ModelConfig, phases: Mapping[str, PhaseConfig], evaluation: EvaluationConfig
) -> Iterator[Finding]:
    """Pictures with label maps are not split. Paths start at the config."""
    if not model.experts.kinds:
        return
    splittings: list[tuple[Path, str]] = [(("phases", name), phase.splitting.kind) for name, phase in phases.items()]
    for path, kind in [*splittings, (("evaluation",), evaluation.splitting.kind)]:
        if kind != "none":
            message = "label maps are those of whole pictures: pictures with experts cannot be split"
            yield Finding((*path, "splitting", "kind"), message, "set kind: none", (_KINDS,))
