"""Values of samples, such as points or differences of points, and their mean.

Sums run in order, or exactly (``fsum``), never as the processor likes: the same scores give the same digits everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import fsum, nan

import numpy as np
from numpy.typing import NDArray

from harness.analysis.samples.questions import Questions

Points = NDArray[np.float64]

SAME = 1e-9
"""Points: means that are no further apart are one."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Values [n] of one benchmark's questions [n], and the scale [``lowest``, ``highest``] they lie on."""

    values: Points
    questions: Questions
    lowest: float
    highest: float

    @cached_property
    def mean(self) -> float:
        """The mean of the values."""
        return mean(self.values)

    @property
    def is_unvaried(self) -> bool:
        """Whether all values are one, up to rounding: 0.1 + 0.2 − 0.3 is not a difference."""
        return not vary(self.values)


def mean(values: Sequence[float] | Points) -> float:
    """The exactly rounded mean; of nothing, NaN."""
    plain = values.tolist() if isinstance(values, np.ndarray) else values  # twice as fast as numpy's own numbers
    return fsum(plain) / len(plain) if len(plain) else nan


def vary(values: Sequence[float] | Points) -> bool:
    """Whether values differ by more than rounding."""
    if isinstance(values, np.ndarray):
        return float(values.max() - values.min()) > SAME
    return max(values) - min(values) > SAME
