from __future__ import annotations

import pytest

from harness.analysis.claims.judgements import (
    Judgement,
    Part,
    Terms,
    by_equivalence,
    by_flip,
    by_interaction,
    by_order,
    by_saturation,
    by_sign,
    by_stability,
    clopper_pearson,
)
from harness.analysis.statistics.differences import Difference
from harness.analysis.statistics.intervals import Interval

TERMS = Terms(min_effect=3.0, confidence=0.95, power=0.8)


def part(low: float, high: float, strict: float = 0.0, deviation: float | None = 1.0, seeds: int = 3) -> Part:
    """A part with this interval; at the shared confidence it reaches ``strict`` further on both sides."""
    interval = Interval((low + high) / 2, low, high)
    wider = Interval(interval.mean, low - strict, high + strict)
    return Part("p", Difference(interval, seeds), wider, deviation)


def gap() -> Part:
    return Part("p", Difference(None, reason="no seed has both scores"), None, None)


@pytest.mark.parametrize(
    ("low", "high", "up", "down"),
    [
        (0.1, 9.0, "replicated", "contradicted"),
        (-9.0, -0.1, "contradicted", "replicated"),
        (0.1, 0.5, "replicated", "contradicted"),  # a small gain is a gain
        (-2.0, 2.5, "contradicted", "contradicted"),  # no gain that matters, no loss either
        (-2.0, 3.0, "undecided", "undecided"),
        (0.0, 5.0, "undecided", "undecided"),  # touching 0 does not exclude it
    ],
)
def test_signs(low: float, high: float, up: str, down: str) -> None:
    assert by_sign(part(low, high), 1, TERMS).verdict == up
    assert by_sign(part(low, high), -1, TERMS).verdict == down
    assert by_interaction(part(low, high), 1, TERMS).verdict == up


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.9, 0.9, "replicated"),
        (0.1, 0.9, "replicated"),  # different from 0, and still equivalent
        (1.1, 5.0, "contradicted"),
        (-5.0, -1.1, "contradicted"),
        (0.9, 5.0, "undecided"),  # different, but perhaps by less than the bound
        (-5.0, 5.0, "undecided"),
    ],
)
def test_equivalence(low: float, high: float, verdict: str) -> None:
    assert by_equivalence(part(low, high), 1.0, TERMS).verdict == verdict


def test_what_ten_times_the_seeds_cannot_equate_is_undecidable() -> None:
    far = by_equivalence(part(-9.0, 9.0, deviation=8.0), 1.0, TERMS)
    assert (far.verdict, far.is_undecidable) == ("undecided", True)
    near = by_equivalence(part(-1.5, 1.5, deviation=0.8), 1.0, TERMS)
    assert (near.verdict, near.is_undecidable) == ("undecided", False)
    assert near.seeds_to_decide is not None
    assert 3 < near.seeds_to_decide <= 30
    unknown = by_equivalence(part(-9.0, 9.0, deviation=None), 1.0, TERMS)
    assert (unknown.seeds_to_decide, unknown.is_undecidable) == (None, False)
    assert by_equivalence(part(-9.0, 9.0), 0.0, TERMS).is_undecidable  # nothing lies within nothing


def test_seeds_that_would_decide_are_more_than_were_run() -> None:
    found = by_sign(part(-1.0, 30.0, deviation=0.1), 1, TERMS)
    assert found.seeds_to_decide == 4


def test_an_order_holds_at_every_step() -> None:
    up, open_, down, flat = part(1, 9), part(-5, 9), part(-9, -1), part(-1, 1)
    assert by_order([up, up], 1, TERMS).verdict == "replicated"
    assert by_order([up, open_], 1, TERMS).verdict == "undecided"
    assert by_order([up, down], 1, TERMS).verdict == "contradicted"
    assert by_order([up, flat], 1, TERMS).verdict == "contradicted"
    assert by_order([down, down], -1, TERMS).verdict == "replicated"
    assert by_order([up, gap()], 1, TERMS).verdict == "undecided"


def test_any_step_contradicts_so_the_steps_share_the_error() -> None:
    """Below 0 at 95 %, not at the confidence that two chances to fail have to share."""
    assert by_order([part(1, 9), part(-9, -1, strict=2)], 1, TERMS).verdict == "undecided"
    assert by_saturation(part(-9, -1, strict=2), part(-0.5, 0.5), 1.0, TERMS).verdict == "undecided"
    assert by_saturation(part(1, 9), part(2, 9, strict=2), 1.0, TERMS).verdict == "undecided"
    assert by_flip(part(-2, 2, strict=2), part(1, 9), TERMS).verdict == "undecided"


def test_saturation_gains_first_and_is_level_in_the_end() -> None:
    up, level, open_ = part(1, 9), part(-0.5, 0.5), part(-5, 9)
    assert by_saturation(up, level, 1.0, TERMS).verdict == "replicated"
    assert by_saturation(up, up, 0.5, TERMS).verdict == "contradicted"
    assert by_saturation(part(-9, -1), level, 1.0, TERMS).verdict == "contradicted"
    assert by_saturation(level, level, 1.0, TERMS).verdict == "contradicted"
    assert by_saturation(open_, level, 1.0, TERMS).verdict == "undecided"
    assert by_saturation(up, open_, 1.0, TERMS).verdict == "undecided"


def test_a_flip_needs_two_signs() -> None:
    up, down, open_, flat = part(1, 9), part(-9, -1), part(-5, 9), part(-1, 1)
    assert by_flip(up, down, TERMS).verdict == by_flip(down, up, TERMS).verdict == "replicated"
    assert by_flip(up, up, TERMS).verdict == by_flip(down, down, TERMS).verdict == "contradicted"
    assert by_flip(up, flat, TERMS).verdict == "contradicted"
    assert by_flip(up, open_, TERMS).verdict == by_flip(open_, open_, TERMS).verdict == "undecided"
    assert by_flip(up, gap(), TERMS).verdict == "undecided"


@pytest.mark.parametrize(
    ("diverged", "runs", "stable", "diverges"),
    [
        (0, 0, "undecided", "undecided"),
        (0, 5, "undecided", "undecided"),
        (0, 6, "replicated", "contradicted"),
        (1, 1, "contradicted", "undecided"),
        (1, 100, "contradicted", "contradicted"),
        (5, 5, "contradicted", "undecided"),
        (6, 6, "contradicted", "replicated"),
        (3, 6, "contradicted", "undecided"),
    ],
)
def test_stability(diverged: int, runs: int, stable: str, diverges: str) -> None:
    assert by_stability(diverged, runs, False, 0.95).verdict == stable
    assert by_stability(diverged, runs, True, 0.95).verdict == diverges


def test_six_trainings_decide_stability() -> None:
    assert by_stability(0, 2, False, 0.95).seeds_to_decide == 6
    assert by_stability(1, 3, True, 0.95).seeds_to_decide is None


@pytest.mark.parametrize(("hits", "count"), [(0, 1), (0, 7), (3, 4), (9, 9), (40, 112)])
def test_the_exact_interval_is_scipys(hits: int, count: int) -> None:
    from scipy.stats import binomtest

    for confidence in (0.8, 0.95):
        theirs = binomtest(hits, count).proportion_ci(confidence, "exact")
        assert clopper_pearson(hits, count, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-10)


@pytest.mark.parametrize("found", [gap(), Part("", Difference(Interval(3.0, None, None), 1), None, None)])
def test_without_an_interval_nothing_is_decided(found: Part) -> None:
    judgements: list[Judgement] = [
        by_sign(found, 1, TERMS),
        by_equivalence(found, 1.0, TERMS),
        by_interaction(found, -1, TERMS),
    ]
    for judgement in judgements:
        assert judgement.verdict == "undecided"
        assert judgement.reason
