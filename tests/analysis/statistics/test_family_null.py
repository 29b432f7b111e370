"""Max-T's null distribution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.analysis.statistics.verdicts import max_t


def many_to_one(variants: int) -> list[list[float]]:
    return [[float(row == column) for column in range(variants)] + [-1.0] for row in range(variants)]


def test_one_contrast_is_a_t_test() -> None:
    assert max_t([3.0], [[1.0, -1.0]], 4) == [pytest.approx(2 * stats.t.sf(3.0, 3), abs=0.004)]


def test_two_contrasts_with_one_baseline_by_drawing_again() -> None:
    generator = np.random.default_rng(5)
    values = generator.standard_normal((100_000, 4, 3))
    apart = values[:, :, :2] - values[:, :, 2:]
    highest = np.abs(apart.mean(1) / (apart.std(1, ddof=1) / 2)).max(1)
    first, second = max_t([3.5, -1.0], many_to_one(2), 4)
    assert first == pytest.approx((highest >= 3.5).mean(), abs=0.004)
    assert second == pytest.approx(2 * stats.t.sf(1.0, 3), abs=0.008)


def test_the_order_of_contrasts_does_not_matter() -> None:
    statistics, weights = [2.5, -4.0, 0.3, 6.0], many_to_one(4)
    found = max_t(statistics, weights, 3)
    assert found[3] <= found[1] <= found[0] <= found[2]
    swapped = max_t(statistics[::-1], weights[::-1], 3)
    assert swapped[::-1] == found
