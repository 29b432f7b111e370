"""What ``--model_args`` asks for: which model is evaluated, on which data, under which protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.data.dataset import Dataset
from harness.data.features import Features, open_features
from harness.data.located import open_stage_data
from harness.errors import HarnessError
from harness.evaluate.checkpoint import Checkpoint
from harness.evaluate.decoding import Decoder
from harness.evaluate.evaluation import Evaluation
from harness.evaluate.prompts import Prompt
from harness.evaluate.protocol import Protocol
from harness.evaluate.tasks import get_task
from harness.store import Stage, Store
from harness.store.stage import is_stage_id

PREFIX = "harness_"
"""Before the names of our tasks within lm-eval."""

_PLACES = ("stage", "results", "model", "data", "features")
_DEFAULTS: Mapping[str, Any] = {
    "shots": 4,
    "split": "test",
    "demonstration_sets": 8,
    "demonstration_seed": 0,
    "queries_per_batch": 64,
    "samples": None,
}
_OWN = ("metric", "max_new_tokens")

_WHICH = (
    "give the ids of one run's evaluate stages, joined by `:`; `harness status NAME --json` lists them, and folders in"
    " results/stages/evaluate end in them"
)


@dataclass(frozen=True)
class Arguments:
    """``--model_args``, checked.

    Either ``stage``: an evaluate stage, or several joined by ``:``, from which everything follows, each as its folder
    or as its id in the folder ``results``; or ``model`` (a folder in Hugging Face form), ``data`` (a data folder), at
    will ``features`` (the folder of a features stage) and the protocol: ``shots``, ``split``, ``demonstration_sets``,
    ``demonstration_seed``, ``queries_per_batch``, ``samples``, ``metric``, ``max_new_tokens``.
    """

    stage: str = ""
    results: str = "results"
    model: str = ""
    data: str = ""
    features: str = ""
    protocol: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Arguments:
        """Raises HarnessError for unknown arguments and for combinations that say nothing or contradict each other."""
        known = (*_PLACES, *_DEFAULTS, *_OWN)
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise HarnessError(f"--model_args: unknown {', '.join(unknown)}", remedy=f"known: {', '.join(known)}")
        protocol = tuple(sorted((key, value) for key, value in values.items() if key not in _PLACES))
        arguments = cls(**{key: str(values[key]) for key in _PLACES if key in values}, protocol=protocol)
        others = ", ".join(sorted(set(values) - {"stage", "results"}))
        if arguments.stage and others:
            raise HarnessError(f"--model_args: {others} beside stage", remedy="a stage says it all: leave them out")
        if not arguments.stage and not arguments.model:
            raise HarnessError(
                "--model_args does not say which model to evaluate",
                remedy="give stage=EVALUATE_ID (and results=FOLDER), or model=FOLDER,data=FOLDER",
            )
        return arguments


@dataclass(frozen=True)
class TaskSource:
    """One of our tasks: its queries and prompts, and what decodes them."""

    evaluation: Evaluation
    checkpoint: Checkpoint
    features: Features | None
    root: Path

    @cached_property
    def prompts(self) -> dict[str, Prompt]:
        """The intact prompt of each query."""
        return {prompt.sample_id: prompt for prompt in self.evaluation.prompts("intact")}

    @cached_property
    def decoder(self) -> Decoder:
        """The very decoder of the executor: its images are listed in the same order, controls included."""
        decoder = self.checkpoint.decoder(self.evaluation, self.features)
        decoder.refuse_too_long(tuple(self.prompts.values()))
        return decoder


@dataclass(frozen=True)
class Source:
    """Model and tasks that the arguments describe; loaded when they are first needed, each once."""

    arguments: Arguments
    _tasks: dict[str, TaskSource] = field(default_factory=dict, compare=False)

    def task(self, name: str) -> TaskSource:
        """One of our tasks, by its name here (without the prefix)."""
        if name not in self._tasks:
            self._tasks[name] = self._of_stage(name) if self.arguments.stage else self._of_folders(name)
        return self._tasks[name]

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The model."""
        if not self.arguments.stage:
            return Checkpoint.load(Path(self.arguments.model))
        store, stage = next(iter(self._stages.values()))
        return Checkpoint.load(store.outputs(stage.inputs["model"]).directory / Protocol.of(stage.config).model)

    @cached_property
    def _stages(self) -> dict[str, tuple[Store, Stage]]:
        """Task → store and stage."""
        stages: dict[str, tuple[Store, Stage]] = {}
        for name in self.arguments.stage.split(":"):
            store, stage = self._stage(name)
            if stage.kind != "evaluate":
                raise HarnessError(f"{name} is a stage of the kind {stage.kind}, which has no scores", remedy=_WHICH)
            stages[str(stage.config["task"])] = store, stage
        if len({(stage.inputs["model"], stage.config.get("step")) for _, stage in stages.values()}) > 1:
            raise HarnessError("the stages evaluate different models", remedy="give the stages of one run")
        return stages

    def _stage(self, name: str) -> tuple[Store, Stage]:
        if is_stage_id(name):
            store = Store(self.arguments.results)
            return store, store.stage(name)
        spec = Path(name).expanduser() / "stage.json"
        if not spec.is_file():
            raise HarnessError(f"--model_args stage={name}: that is no id of a stage, and no folder of one", _WHICH)
        return Store.of_spec(spec)

    def _of_stage(self, name: str) -> TaskSource:
        if name not in self._stages:
            raise HarnessError(
                f"no stage for {PREFIX}{name} among --model_args (they are for {', '.join(self._stages)})",
                remedy=f"add the folder of its evaluate stage, or leave {PREFIX}{name} out of --tasks",
            )
        store, stage = self._stages[name]
        dataset = open_stage_data(stage, lambda role: store.outputs(stage.inputs[role]).directory)
        features: Features | None = None
        if "features" in stage.inputs:
            tiles = store.outputs(stage.inputs["tile_features"]).directory if "tile_features" in stage.inputs else None
            features = open_features(store.outputs(stage.inputs["features"]).directory, tiles)
        evaluation = Evaluation.prepare(Protocol.of(stage.config), dataset)
        return TaskSource(evaluation, self.checkpoint, features, dataset.root)

    def _of_folders(self, name: str) -> TaskSource:
        if not self.arguments.data:
            raise HarnessError(f"{PREFIX}{name} needs data", remedy="add data=FOLDER to --model_args")
        dataset = Dataset.open(Path(self.arguments.data).expanduser())
        features = open_features(Path(self.arguments.features)) if self.arguments.features else None
        return TaskSource(
            Evaluation.prepare(self._protocol(name, dataset), dataset),
            self.checkpoint,
            features,
            dataset.root,
        )

    def _protocol(self, name: str, dataset: Dataset) -> Protocol:
        task = get_task(name)
        own = {"metric": task.metrics[0], "max_new_tokens": task.max_new_tokens}
        values = {**_DEFAULTS, **own, **dict(self.arguments.protocol)}
        values["batch_size"] = values.pop("queries_per_batch")
        values["samples"] = values["samples"] or len(task.read(dataset, values["split"]).samples)
        known = {each.name for each in fields(Protocol)}
        return Protocol(task=name, controls=(), seed=0, **{key: value for key, value in values.items() if key in known})


_SOURCES: dict[Arguments, Source] = {}


def source_of(values: Mapping[str, Any]) -> Source:
    """The source that arguments describe; model and tasks of one command share theirs."""
    arguments = Arguments.of(values)
    return _SOURCES.setdefault(arguments, Source(arguments))
