from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from harness.spec import schema
from harness.spec.schema import Config, ConnectorConfig, DataConfig, PhaseConfig, RuntimeConfig, Section, TrainingConfig
from harness.spec.schema.base import Location, NoEffect, marked
from harness.spec.schema.sweep import SweepKeys
from harness.spec.sweep import config_of


def sections(root: type[BaseModel] = Config) -> Iterator[type[Section]]:
    yield root
    for field in root.model_fields.values():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from sections(part)


@pytest.mark.parametrize("section", sorted({*sections(), *sections(SweepKeys)}, key=lambda s: s.__name__))
def test_every_section_is_frozen_closed_strict_and_explained(section: type[Section]) -> None:
    assert section.model_config["frozen"]
    assert section.model_config["extra"] == "forbid"
    assert section.model_config["strict"]
    assert section.__doc__
    assert len(section.__doc__) > 20


def test_every_section_of_the_config_is_exported() -> None:
    assert {section.__name__ for section in sections()} <= set(schema.__all__)


def set_at(tree: Any, path: str, value: Any) -> None:
    *way, last = path.split(".")
    for key in way:
        tree = tree[key]
    tree[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("training.matmul_precision", "low"),
        ("training.matmul_precision", True),
        ("training.batch_size", 32.0),
        ("training.batch_size", True),
        ("training.batch_size", "32"),
        ("training.batch_size", 0),
        ("training.clip_norm", True),
        ("training.clip_norm", "1"),
        ("training.clip_norm", float("nan")),
        ("training.clip_norm", float("inf")),
        ("training.optimizer.betas", [0.9]),
        ("training.optimizer.betas", [0.9, 0.9, 0.9]),
        ("training.optimizer.betas", [0.9, True]),
        ("training.precision", "fp8"),
        ("training.optimizer.betas", [0.9, 1.1]),
        ("training.mixture.pairs", -0.1),
        ("training.lora.dropout", 1.0),
        ("evaluation.shots", -1),
        ("evaluation.controls", "withheld"),
        ("evaluation.controls", ["blind"]),
        ("evaluation.tasks.coco.metric", 3),
        ("model.vision.backbone", 3),
        ("model.vision.backbone", ""),
        ("model.image.size", 0),
        ("data.root", None),
        ("runtime.feature_cache", True),
        ("runtime.threads", 0),
        ("phases.main.steps", 0),
        ("phases.main.steps", None),
    ],
)
def test_types_are_strict(path: str, value: Any) -> None:
    values = config_of("idefics2", "micro").model_dump()
    Config.model_validate(values)
    set_at(values, path, value)
    with pytest.raises(ValidationError):
        Config.model_validate(values)


def test_whole_numbers_are_numbers_and_equal_the_same_number_with_a_point() -> None:
    values = config_of("idefics2", "micro").model_dump()
    values["training"]["clip_norm"] = 1
    assert Config.model_validate(values) == config_of("idefics2", "micro")
    assert type(Config.model_validate(values).training.clip_norm) is float


def test_sections_cannot_be_changed() -> None:
    config = config_of("idefics2", "micro")
    with pytest.raises(ValidationError, match="frozen"):
        config.model.image.size = 5


def test_a_phase_is_the_training_defaults_with_its_own_keys() -> None:
    config = config_of("idefics2", "micro")
    values = config.model_dump()
    values["phases"] = {"one": {"steps": 7, "tuning": {"vision": "lora"}, "batch_size": 64}}
    phase = Config.model_validate(values).phases["one"]
    assert (phase.steps, phase.batch_size) == (7, 64)
    assert phase.tuning.model_dump() == {
        "vision": "lora",
        "connector": "full",
        "language": "full",
        "fusion": None,
        "experts": None,
        "vision_layers": None,
        "language_layers": None,
    }
    assert phase.schedule == config.training.schedule


def test_a_config_survives_json() -> None:
    config = config_of("idefics2", "micro")
    assert Config.model_validate_json(config.model_dump_json()) == config
    assert Config.model_validate(json.loads(json.dumps(config.model_dump(mode="json")))) == config


@pytest.mark.parametrize("kind", ConnectorConfig.READS)
def test_a_connector_is_written_with_what_it_reads(kind: str) -> None:
    connector = ConnectorConfig.model_validate({"kind": kind, "num_tokens": 9, "depth": 7, "head_dim": 8})
    assert connector.model_dump().keys() == ConnectorConfig.READS[kind] | {"kind"}
    assert connector == ConnectorConfig.model_validate(connector.model_dump())
    others = {"depth": 8, "head_dim": 9, "num_heads": 5, "hidden_size": 7}
    unread = {key: value for key, value in others.items() if key not in ConnectorConfig.READS[kind]}
    assert connector == ConnectorConfig.model_validate({**connector.model_dump(), **unread})


def test_the_microworld_is_there_only_when_it_is_the_data() -> None:
    world = config_of("idefics2", "micro").data.model_dump()["microworld"]
    assert DataConfig.model_validate({"root": "/data", "microworld": world}).microworld is None
    assert DataConfig.model_validate({"root": "microworld", "microworld": world}).microworld is not None


def test_every_field_that_may_be_unread_has_a_default() -> None:
    def check(section: type[BaseModel], name: str) -> None:
        head, _, rest = name.partition(".")
        field = section.model_fields[head]
        if rest:
            assert isinstance(field.annotation, type)
            assert issubclass(field.annotation, BaseModel)
            check(field.annotation, rest)
        else:
            assert not field.is_required()

    for kind in ConnectorConfig.READS:
        for name in ConnectorConfig.model_validate({"kind": kind}).unread():
            check(ConnectorConfig, name)
    values = config_of("idefics2", "micro").phases["main"].model_dump()
    frozen = PhaseConfig.model_validate(
        {**values, "tuning": dict.fromkeys(("vision", "connector", "language"), "frozen")}
    )
    rates = {f"learning_rate.{name}" for name in ("vision", "connector", "language")}
    assert frozen.unread() == {"lora", "adaptor", "text_tokens_per_document", *rates}
    for name in frozen.unread():
        check(PhaseConfig, name)


def test_what_cannot_change_a_result_is_declared() -> None:
    assert set(marked(Config, NoEffect)) == {"training", "runtime", "cluster"}
    assert not marked(TrainingConfig, NoEffect)
    assert {section.__name__ for section in sections() if marked(section, Location)} == {
        "VisionConfig", "LanguageConfig", "ConnectorConfig", "ExpertModelsConfig", "DataConfig",
    }  # fmt: skip
    assert RuntimeConfig().processes == 0
