"""YAML to validated variants: reading, composition, schema, factors and designs.

``load`` is the way in. Names are imported on first use, so that importing this package costs nothing (pydantic and
OmegaConf take a quarter of a second).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.spec.backbones import ZOO, ZooBackbone
    from harness.spec.checks import findings
    from harness.spec.claims import Claim, Contrast, PositiveControl
    from harness.spec.compose import available
    from harness.spec.factors import Factor, Level
    from harness.spec.identity import canonical, identity_part, locations
    from harness.spec.schema import (
        AnalysisConfig,
        ClusterConfig,
        Config,
        ConnectorConfig,
        DataConfig,
        EvaluationConfig,
        FusionConfig,
        ImageConfig,
        LanguageConfig,
        LearningRates,
        LoraConfig,
        MicroworldConfig,
        MixtureConfig,
        ModelConfig,
        OptimizerConfig,
        PhaseConfig,
        RuntimeConfig,
        ScheduleConfig,
        Section,
        TaskConfig,
        TrainingConfig,
        TuningConfig,
        VisionConfig,
    )
    from harness.spec.sweep import Sweep, Variant, config_of, load, load_values

__all__ = [
    "ZOO",
    "AnalysisConfig",
    "Claim",
    "ClusterConfig",
    "Config",
    "ConnectorConfig",
    "Contrast",
    "DataConfig",
    "EvaluationConfig",
    "Factor",
    "FusionConfig",
    "ImageConfig",
    "LanguageConfig",
    "LearningRates",
    "Level",
    "LoraConfig",
    "MicroworldConfig",
    "MixtureConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PhaseConfig",
    "PositiveControl",
    "RuntimeConfig",
    "ScheduleConfig",
    "Section",
    "Sweep",
    "TaskConfig",
    "TrainingConfig",
    "TuningConfig",
    "Variant",
    "VisionConfig",
    "ZooBackbone",
    "available",
    "canonical",
    "config_of",
    "findings",
    "identity_part",
    "load",
    "load_values",
    "locations",
]

_HOMES = {
    "backbones": ("ZOO", "ZooBackbone"),
    "checks": ("findings",),
    "claims": ("Claim", "Contrast", "PositiveControl"),
    "compose": ("available",),
    "factors": ("Factor", "Level"),
    "identity": ("canonical", "identity_part", "locations"),
    "sweep": ("Sweep", "Variant", "config_of", "load", "load_values"),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'schema')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
