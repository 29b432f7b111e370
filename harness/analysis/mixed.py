"""Two variants whose seeds are not the same: a mixed model with the seed as random effect.

y = μ_variant + u_seed + e. Estimated by REML; the interval is Student's t with Satterthwaite's degrees of freedom
(Giesbrecht & Burns 1985; lmerTest, Kuznetsova et al. 2017). Where every seed has both variants it is the paired
t interval; where less than two seeds have, Student's for two samples of equal variance, which is wide if anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum, log

import numpy as np
from numpy.typing import NDArray

from harness.analysis.intervals import Interval, around, mean, t_interval, vary

Matrix = NDArray[np.float64]

_STEP = 1e-4  # of the numerical derivative of a variance, relative


def difference_interval(first: Mapping[int, float], second: Mapping[int, float], confidence: float) -> Interval:
    """``first`` minus ``second``, each by seed.

    Without bounds when there are fewer than three values in all, and when none differs from another beyond its seed:
    that says nothing about the variance.
    """
    paired = [first[seed] - second[seed] for seed in first if seed in second]
    if len(paired) < 2:  # one pair cannot tell the seeds' variance from the rest: as if independent
        return _two_samples(list(first.values()), list(second.values()), confidence)
    if not vary(paired):
        return Interval(mean(paired), None, None)
    if first.keys() == second.keys():
        return t_interval(paired, confidence)
    y = np.array([*first.values(), *second.values()])
    design = np.zeros((len(y), 2))
    design[: len(first), 0] = design[len(first) :, 1] = 1.0
    names = [*first, *second]
    same_seed = np.array([[float(a == b) for b in names] for a in names])
    contrast = np.array([1.0, -1.0])
    scale = max(float(np.var(y - design @ _fit(y, design, np.eye(len(y)))[0])), 1e-300)
    seed, residual = _reml(y / scale**0.5, design, same_seed)
    seed, residual = seed * scale, residual * scale
    middle, covariance = _fit(y, design, _variance(seed, residual, same_seed))
    variance = float(contrast @ covariance @ contrast)
    return around(float(contrast @ middle), variance, _degrees(design, same_seed, seed, residual, contrast), confidence)


def _two_samples(first: Sequence[float], second: Sequence[float], confidence: float) -> Interval:
    middle, degrees = mean(first) - mean(second), len(first) + len(second) - 2
    if degrees < 1 or not (vary(first) or vary(second)):
        return Interval(middle, None, None)
    squares = fsum((value - mean(values)) ** 2 for values in (first, second) for value in values)
    return around(middle, squares / degrees * (1 / len(first) + 1 / len(second)), degrees, confidence)


def _variance(seed: float, residual: float, same_seed: Matrix) -> Matrix:
    return seed * same_seed + residual * np.eye(len(same_seed))


def _fit(y: Matrix, design: Matrix, variance: Matrix) -> tuple[Matrix, Matrix]:
    """Generalised least squares: the effects and their covariance."""
    weighted = np.linalg.solve(variance, design)
    covariance = np.linalg.inv(design.T @ weighted)
    return covariance @ (weighted.T @ y), covariance


def restricted_likelihood(y: Matrix, design: Matrix, same_seed: Matrix, seed: float, residual: float) -> float:
    """The REML log likelihood, without its constant."""
    variance = _variance(seed, residual, same_seed)
    effects, covariance = _fit(y, design, variance)
    left = y - design @ effects
    determinants = np.linalg.slogdet(variance)[1] - np.linalg.slogdet(covariance)[1]
    return -0.5 * float(determinants + left @ np.linalg.solve(variance, left))


def _reml(y: Matrix, design: Matrix, same_seed: Matrix) -> tuple[float, float]:
    """The variances of seed and residual. For a given ratio the residual has a closed form, so one number is sought."""
    from scipy.optimize import minimize_scalar

    free = len(y) - design.shape[1]

    def profiled(log_ratio: float) -> tuple[float, float]:
        ratio = float(np.exp(log_ratio))
        variance = _variance(ratio, 1.0, same_seed)
        effects, covariance = _fit(y, design, variance)
        left = y - design @ effects
        residual = max(float(left @ np.linalg.solve(variance, left)) / free, 1e-12)
        determinants = np.linalg.slogdet(variance)[1] - np.linalg.slogdet(covariance)[1]
        return float(determinants) + free * log(residual), residual

    found = minimize_scalar(lambda x: profiled(x)[0], bounds=(-12.0, 12.0), method="bounded", options={"xatol": 1e-10})
    ratio, (best, residual) = float(np.exp(found.x)), profiled(found.x)
    nothing, alone = profiled(-40.0)
    if nothing <= best:  # the boundary: seeds explain nothing
        return 0.0, alone
    return ratio * residual, residual


def _degrees(design: Matrix, same_seed: Matrix, seed: float, residual: float, contrast: Matrix) -> float:
    """2 V² / Var(V), the variance of the contrast's variance by the delta method and the expected information."""

    def spread(first: float, second: float) -> float:
        weighted = np.linalg.solve(_variance(first, second, same_seed), design)
        return float(contrast @ np.linalg.inv(design.T @ weighted) @ contrast)

    parts = [np.eye(len(same_seed))] if seed == 0.0 else [same_seed, np.eye(len(same_seed))]
    inverse = np.linalg.inv(_variance(seed, residual, same_seed))
    projection = inverse - inverse @ design @ np.linalg.inv(design.T @ inverse @ design) @ design.T @ inverse
    information = np.array([[0.5 * np.trace(projection @ a @ projection @ b) for b in parts] for a in parts])
    step_seed, step_residual = _STEP * max(seed, residual), _STEP * residual
    by_residual = (spread(seed, residual + step_residual) - spread(seed, residual - step_residual)) / 2 / step_residual
    gradient = [by_residual]
    if seed > 0.0:
        low = max(seed - step_seed, 0.0)
        gradient.insert(0, (spread(seed + step_seed, residual) - spread(low, residual)) / (seed + step_seed - low))
    slope = np.array(gradient)
    doubt = float(slope @ np.linalg.pinv(information) @ slope)
    return max(1.0, 2.0 * spread(seed, residual) ** 2 / doubt)
