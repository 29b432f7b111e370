"""The resolved config of one variant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from harness.spec.schema.base import NO_EFFECT
from harness.spec.schema.data import DataConfig
from harness.spec.schema.evaluation import EvaluationConfig
from harness.spec.schema.execution import ClusterConfig, RuntimeConfig
from harness.spec.schema.model import ModelConfig
from harness.spec.schema.training import PhaseConfig, PhasedSection, RandomnessConfig, TrainingConfig


class Config(PhasedSection):
    """Everything that decides one run but its training seed.

    ``phases`` are in the order in which they are trained, each complete. ``training``, from which they were
    completed, stays for the reader; ``runtime`` and ``cluster`` say how the work is carried out: none of the three is
    part of an identity.
    """

    model: ModelConfig
    training: Annotated[TrainingConfig, NO_EFFECT]
    phases: Mapping[str, PhaseConfig]
    data: DataConfig
    evaluation: EvaluationConfig
    randomness: RandomnessConfig = RandomnessConfig()
    runtime: Annotated[RuntimeConfig, NO_EFFECT] = RuntimeConfig()
    cluster: Annotated[ClusterConfig, NO_EFFECT] = ClusterConfig()
