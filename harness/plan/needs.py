"""What a sweep takes from this machine, looked up before the plan is made: all that is missing is said at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.errors import HarnessError
from harness.plan.data import DataSource
from harness.plan.weights import Absent, Backbones
from harness.spec import ModelConfig, Sweep


def require(sweep: Sweep, backbones: Backbones, data: DataSource) -> None:
    """Raises ``HarnessError`` for every model that is not here, and for data folders that are not.

    Folders that exist are indexed later: that may take hours, and missing models are best known before.
    """
    problems: list[HarnessError] = []
    for name in named_models(sweep):
        try:
            backbones.resolve(name)
        except HarnessError as error:
            problems.append(error)
    for section in {id(variant.config.data): variant.config.data for variant in sweep.variants}.values():
        if section.microworld is None and not Path(section.root).expanduser().is_dir():
            try:
                data.digest(section)
            except HarnessError as error:
                problems.append(error)
    absent = [name for problem in problems if isinstance(problem, Absent) for name in problem.names]
    others = [problem for problem in problems if not isinstance(problem, Absent)]
    found = [*([Absent(absent)] if absent else []), *others]
    if found:
        raise HarnessError("\n".join([*map(str, found[:-1]), found[-1].message]), found[-1].remedy)


def named_models(sweep: Sweep) -> list[str]:
    """Every pretrained model that the variants of a sweep name, each once."""
    models = {id(variant.config.model): variant.config.model for variant in sweep.variants}
    return list(dict.fromkeys(name for model in models.values() for name in _named(model)))


def _named(model: ModelConfig) -> Iterator[str]:
    yield model.vision.backbone
    yield model.language.backbone
    if model.connector.backbone:
        yield model.connector.backbone
    yield from model.experts.models.named().values()
