"""Sweeps that never ran: scores with the components of variance of real ones, and what is true of them.

A score is a step function of a normal number, its steps the quantiles of real scores (0, 30, 60, 90 and 100 of a VQA
accuracy; the long tail of CIDEr-D). The normal number is a sum: how hard the question is (the same for all runs, a part
of it the variant's own), the seed (the same for all variants of it), the run, run × demonstration set, run × image (an
image is one over benchmarks), and what is left. Each part's variance is such that the scores' covariances are those
measured: the covariance of two step functions of normals with correlation r is a power series in r (Hermite).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from components import QUANTILES, Components
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from harness.analysis.samples.questions import Questions

METRICS = {"vqav2": "vqa-always", "textvqa": "textvqa-m4c", "okvqa": "vqa-always", "coco": "cider-d"}
ASKED, SETS = 200, 8
TERMS = 80  # of the series; coefficients fall off and correlations are far below 1
GRID = np.linspace(-9.0, 9.0, 6001)
FINE = 512  # steps are multiples of 1 / FINE, so that points can be looked up
REACH = 16.0  # no normal number is beyond


@dataclass(frozen=True)
class Shares:
    """Variances of the normal number's parts; what is missing to 1 is left to run × question."""

    question: float
    run: float
    of_set: float
    of_image: float


class Benchmark:
    """One benchmark: how normal numbers become points, and what part of them is due to what."""

    def __init__(self, measured: Components) -> None:
        self.measured = measured
        self._curves: dict[float, Any] = {}
        values = np.sort(measured.quantiles)
        heights = np.diff(values)
        places = np.flatnonzero(heights > 0)
        self.steps = np.round(ndtri((places + 1) / QUANTILES) * FINE) / FINE
        self.heights = heights[places]
        self.levels = np.concatenate([values[:1], values[places + 1]])
        self.shares = Shares(
            self._share(measured.question),
            self._share(measured.run),
            self._share(measured.run + measured.of_set) - self._share(measured.run),
            self._share(measured.run + measured.of_image) - self._share(measured.run),
        )

    def points(self, normal: Any) -> Any:
        return self._table.take(((normal + np.float32(REACH)) * np.float32(FINE)).astype(np.int64), mode="clip")

    @cached_property
    def _table(self) -> Any:
        lower = np.arange(int(2 * REACH * FINE)) / FINE - REACH
        return self.levels[np.searchsorted(self.steps, lower, side="right")]

    def expected(self, known: Any, rest: float) -> Any:
        """The expected points where the normal number is ``known`` plus one of variance ``rest``."""
        return np.interp(known, GRID, self._curve(rest))

    def _curve(self, rest: float) -> Any:
        if rest not in self._curves:
            self._curves[rest] = self.levels[0] + ndtr((GRID[:, None] - self.steps) / sqrt(rest)) @ self.heights
        return self._curves[rest]

    @cached_property
    def _series(self) -> Any:
        """Squares of the Hermite coefficients of the step function, from the first on."""
        density = np.exp(-(self.steps**2) / 2) / sqrt(2 * np.pi)
        before, polynomial, found = np.zeros_like(self.steps), np.ones_like(self.steps), []
        for order in range(1, TERMS + 1):  # polynomial: He of order − 1 over the root of (order − 1)!
            found.append(float(self.heights @ (density * polynomial)) / sqrt(order))
            before, polynomial = polynomial, (self.steps * polynomial - sqrt(order - 1) * before) / sqrt(order)
        return np.square(found)

    def covariance(self, correlation: float) -> float:
        return float(np.polynomial.polynomial.polyval(correlation, np.concatenate([[0.0], self._series])))

    def _share(self, covariance: float) -> float:
        return float(brentq(lambda r: self.covariance(r) - covariance, 0.0, 0.99)) if covariance > 0 else 0.0


@dataclass(frozen=True)
class Scenario:
    """What the simulated sweeps are like beyond the measured components.

    ``effects``: what is added to the normal numbers of each variant; ``own``: share of a question's difficulty that is
    the variant's own (of both variants: two of one design share all); ``seed_share``: part of a run's variance that
    all variants of a seed have in common; ``noise``: factor on the deviation of each variant's runs; ``sets``:
    minimal share of an answer's variance that a demonstration set has in common.
    """

    variants: int = 2
    seeds: int = 1
    effects: tuple[float, ...] = ()
    own: float = 0.0
    seed_share: float = 0.0
    noise: tuple[float, ...] = ()
    sets: float = 0.0


@dataclass(frozen=True)
class Sweeps:
    """``points`` by benchmark: [sweep, variant, seed, question].

    ``expected`` [sweep, variant]: of the mean of the benchmarks over training runs, on these questions; by benchmark
    too. ``population`` [sweep, variant, seed]: of these trained models on all questions, images and sets.
    """

    points: Mapping[str, Any]
    expected: Mapping[str, Any]
    population: Mapping[str, Any]


class World:
    """The benchmarks with their questions; the layout is that of the real ones (images shared by three of them)."""

    def __init__(self, measured: Mapping[str, Components]) -> None:
        self.benchmarks = {task: Benchmark(each) for task, each in measured.items()}
        generator = np.random.Generator(np.random.PCG64(20260101))
        self.images, self.sets = {}, {}
        for task in self.benchmarks:
            if task == "coco":  # every picture once
                chosen = generator.permutation(400)[:ASKED]
            elif task == "textvqa":
                chosen = 400 + np.arange(ASKED)
            else:  # at most two questions about a picture
                chosen = generator.permutation(np.repeat(np.arange(400), 2))[:ASKED]
            self.images[task], self.sets[task] = chosen, generator.integers(0, SETS, ASKED)
        self.questions = {
            task: Questions(
                task,
                tuple(f"{task}-{n:03d}" for n in range(ASKED)),
                tuple(map(str, self.images[task])),
                tuple(self.sets[task].tolist()),
                ("",) * ASKED,
                ("",) * ASKED,
            )
            for task in self.benchmarks
        }

    def draw(self, generator: Any, sweeps: int, scenario: Scenario) -> Sweeps:
        def normal(*shape: int) -> Any:
            return generator.standard_normal(shape, dtype=np.float32)

        shape = (sweeps, scenario.variants, scenario.seeds)
        effects = np.array(scenario.effects or (0.0,) * scenario.variants, dtype=np.float32)[:, None]
        noise = np.array(scenario.noise or (1.0,) * scenario.variants, dtype=np.float32)[:, None]
        about_images = normal(*shape, 600)
        points, expected, population = {}, {}, {}
        for task, each in self.benchmarks.items():
            shares = each.shares
            of_set = max(shares.of_set, scenario.sets * (1 - shares.question))
            hard = normal(sweeps, 1, ASKED) * root(shares.question * (1 - scenario.own)) + effects
            if scenario.own:
                hard += normal(sweeps, scenario.variants, ASKED) * root(shares.question * scenario.own)
            run = normal(*shape) * root(shares.run * (1 - scenario.seed_share))
            run += normal(sweeps, 1, scenario.seeds) * root(shares.run * scenario.seed_share)
            run *= noise
            rest = 1 - shares.question - shares.run
            known = normal(*shape, ASKED) * root(rest - of_set - shares.of_image)
            known += about_images.take(self.images[task], -1) * root(shares.of_image)
            known += normal(*shape, SETS).take(self.sets[task], -1) * root(of_set)
            known += hard[:, :, None, :] + run[..., None]
            points[task] = each.points(known)
            varied = (shares.run * float(factor) ** 2 + rest for factor in noise[:, 0])
            by_variant = [each.expected(hard[:, v], variance).mean(-1) for v, variance in enumerate(varied)]
            expected[task] = np.stack(by_variant, axis=1)
            population[task] = each.expected(run + effects, 1 - shares.run)
        for found in (expected, population):
            found["mean"] = np.mean([found[task] for task in self.benchmarks], axis=0)
        return Sweeps(points, expected, population)


def root(variance: float) -> Any:
    return np.float32(sqrt(variance))


def load(path: Path) -> World:
    """The world whose components were measured by benchmarks/components.py."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return World({task: Components(**{**each, "quantiles": tuple(each["quantiles"])}) for task, each in values.items()})
