"""The keys of a sweep file that are not config: what is varied, how often, and how it will be judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from harness.spec.schema.base import ADDITION, Count, NonNegativeNumber, Positive, PositiveNumber, Section, Text

Design = Literal["full", "one_factor", "list"]
Expectation = Literal[
    "better",
    "worse",
    "equivalent",
    "increasing",
    "decreasing",
    "saturating",
    "larger",
    "smaller",
    "flips",
    "stable",
    "diverges",
    "cheaper",
]
Cost = Literal[
    "steps",
    "flops",
    "seconds",
    "images",
    "text_tokens",
    "steps_after_alignment",
    "flops_after_alignment",
    "seconds_after_alignment",
    "images_after_alignment",
    "text_tokens_after_alignment",
]


class PointsConfig(Section):
    """A number of points for each score."""

    mean: PositiveNumber | None = None
    vqav2: PositiveNumber | None = None
    textvqa: PositiveNumber | None = None
    okvqa: PositiveNumber | None = None
    coco: PositiveNumber | None = None
    docvqa: PositiveNumber | None = None


class NoiseConfig(PointsConfig):
    """The standard deviation of one run's scores from seed to seed, and the degrees of freedom it was measured with."""

    degrees: Positive


class AnalysisConfig(Section):
    """How the sweep is judged, declared before it runs.

    ``primary`` is the score that verdicts are about (``mean`` or a task), ``min_effect`` the smallest difference in
    points that matters, ``confidence`` the level of all intervals, ``correction`` how the variants of a sweep are one
    family of tests, ``power`` the probability with which a detectable effect is found. ``seed_noise`` is what is known
    of this scale from other sweeps; a single seed is judged by it. ``ceilings`` are the scores that the normalised
    mean divides by. ``prompts_differ_by`` names the factors that change what the model is asked (the number of shots);
    variants that differ in another way must have the same prompts, or they are not compared.
    """

    primary: Text = "mean"
    min_effect: NonNegativeNumber = 1.0
    confidence: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.95
    correction: Literal["holm", "max-t", "none"] = "holm"
    power: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.8
    seed_noise: NoiseConfig | None = None
    ceilings: PointsConfig | None = None
    prompts_differ_by: Annotated[tuple[Text, ...], Field(strict=False), ADDITION] = ()


class ClaimKeys(Section):
    """A claim of the literature bound to a contrast, as written (see :class:`harness.spec.claims.Claim`)."""

    id: Text
    contrast: Mapping[str, Any] = {}
    between: Mapping[str, Any] = {}
    where: Mapping[str, Any] = {}
    expect: Expectation
    benchmark: Text | None = None
    bound: PositiveNumber | None = None
    cost: Cost | None = None


class PositiveControlKeys(Section):
    """A contrast that has to come out, or the sweep proves nothing, as written."""

    contrast: Mapping[str, Any]
    where: Mapping[str, Any] = {}
    benchmark: Text | None = None


class BudgetConfig(Section):
    """The most that a sweep may spend, all its attempts together; nothing is no limit.

    ``gpu_hours``: the GPUs that its jobs ask for, for as long as they compute. ``core_hours``: the time of processors.
    ``jobs``: those ever submitted for it. ``disk_gb``: what its stages hold in the results folder.
    """

    gpu_hours: PositiveNumber | None = None
    core_hours: PositiveNumber | None = None
    jobs: Positive | None = None
    disk_gb: PositiveNumber | None = None


class SweepKeys(Section):
    """The sweep's own keys as written, references resolved.

    ``recipe`` and ``scale`` name what the file is merged over; ``factors``, ``design``, ``variants``, ``include``,
    ``exclude`` and ``baseline`` say which variants there are; ``seeds`` are training seeds; ``sizes`` are named
    values of the scale; ``budget`` ends the sweep when it is spent, and changes no result.
    """

    name: Text
    question: str = ""
    description: str = ""
    recipe: Text
    scale: Text
    sizes: Mapping[str, Any] = {}
    factors: Mapping[str, Any] = {}
    design: Design = "full"
    variants: Annotated[tuple[Mapping[str, Any], ...], Field(strict=False)] | None = None
    include: Annotated[tuple[Mapping[str, Any], ...], Field(strict=False)] = ()
    exclude: Annotated[tuple[Mapping[str, Any], ...], Field(strict=False)] = ()
    baseline: Mapping[str, Any] = {}
    seeds: Annotated[tuple[Count, ...], Field(strict=False, min_length=1)] = (0,)
    analysis: AnalysisConfig = AnalysisConfig()
    budget: BudgetConfig = BudgetConfig()
    claims: Annotated[tuple[Mapping[str, Any], ...], Field(strict=False)] = ()
    positive_control: PositiveControlKeys | None = None
