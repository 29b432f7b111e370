"""The typed schema of a config (one class a section) and of a sweep file's own keys."""

from harness.spec.schema.base import Addition, Location, NoEffect, Section
from harness.spec.schema.config import Config
from harness.spec.schema.data import DataConfig, MicroworldConfig
from harness.spec.schema.evaluation import EvaluationConfig, TaskConfig
from harness.spec.schema.execution import ClusterConfig, JobConfig, RuntimeConfig
from harness.spec.schema.model import (
    ConnectorConfig,
    ExpertModelsConfig,
    ExpertsConfig,
    FusionConfig,
    ImageConfig,
    LanguageConfig,
    ModelConfig,
    VisionConfig,
)
from harness.spec.schema.splitting import SplittingConfig, TrainingSplittingConfig
from harness.spec.schema.sweep import AnalysisConfig, BudgetConfig
from harness.spec.schema.training import (
    AdaptorConfig,
    ComponentNumbers,
    ComponentSteps,
    LearningRates,
    LoraConfig,
    MixtureConfig,
    OptimizerConfig,
    PhaseConfig,
    RandomnessConfig,
    ScheduleConfig,
    TrainingConfig,
    TuningConfig,
)

__all__ = [
    "AdaptorConfig",
    "Addition",
    "AnalysisConfig",
    "BudgetConfig",
    "ClusterConfig",
    "ComponentNumbers",
    "ComponentSteps",
    "Config",
    "ConnectorConfig",
    "DataConfig",
    "EvaluationConfig",
    "ExpertModelsConfig",
    "ExpertsConfig",
    "FusionConfig",
    "ImageConfig",
    "JobConfig",
    "LanguageConfig",
    "LearningRates",
    "Location",
    "LoraConfig",
    "MicroworldConfig",
    "MixtureConfig",
    "ModelConfig",
    "NoEffect",
    "OptimizerConfig",
    "PhaseConfig",
    "RandomnessConfig",
    "RuntimeConfig",
    "ScheduleConfig",
    "Section",
    "SplittingConfig",
    "TaskConfig",
    "TrainingConfig",
    "TrainingSplittingConfig",
    "TuningConfig",
    "VisionConfig",
]
