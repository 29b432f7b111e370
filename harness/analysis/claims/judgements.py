"""The rules by which a claim is replicated, contradicted or left undecided, from intervals alone.

An interval is the one that verdicts are about (``Difference.judged``): with a single seed never narrower than the known
seed noise allows. A claim of several parts is replicated when every part is, each at the sweep's confidence: all have
to hold, so that nothing is corrected (Berger 1982). It is contradicted when one part is, and as any will do, the parts
share the error (Bonferroni): ``Part.strict`` is the interval at that higher confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.analysis.statistics.differences import Difference
from harness.analysis.statistics.intervals import Interval
from harness.analysis.statistics.power import seeds_to_decide, seeds_to_detect, seeds_to_equate

ClaimVerdict = Literal["replicated", "contradicted", "undecided"]

FAR = 10
"""So many times the seeds that were run are out of reach of those: what even they would not decide is out of theirs."""


@dataclass(frozen=True)
class Part:
    """One contrast of a claim: its difference, its interval at the shared confidence, its deviation between seeds."""

    name: str
    difference: Difference
    strict: Interval | None
    deviation: float | None


@dataclass(frozen=True)
class Terms:
    """How a sweep judges: the smallest effect that matters in points, its confidence, the power it plans with."""

    min_effect: float
    confidence: float
    power: float


@dataclass(frozen=True)
class Judgement:
    """A verdict with its reason; for an undecided one the seeds that would decide if the effect stays what it is.

    ``is_undecidable``: by the seeds that were run, as not even ten times as many would. It speaks of their number, not
    of the scale: more seeds know the effect better, and may need fewer than one seed made believe.
    """

    verdict: ClaimVerdict
    reason: str
    seeds_to_decide: int | None = None
    is_undecidable: bool = False


def by_sign(part: Part, sign: int, terms: Terms, what: str = "") -> Judgement:
    """A gain (``sign`` 1) or loss (−1) is claimed.

    Replicated when the interval excludes 0 on the claimed side, however small the effect is; contradicted when it
    excludes 0 on the other side, or lies within ± the smallest effect that matters, where no gain is left. ``what`` is
    claimed if it is neither a gain nor a loss.
    """
    interval = part.difference.judged
    if not _is_whole(interval):
        return _nothing(part)
    if _side(interval) == sign:
        small = f", and within ±{terms.min_effect:g} points" if _is_within(interval, terms.min_effect) else ""
        return Judgement("replicated", f"the interval lies {'above' if sign > 0 else 'below'} 0, as claimed{small}")
    if _side(interval) == -sign:
        return Judgement("contradicted", f"the interval lies {'below' if sign > 0 else 'above'} 0")
    if _is_within(interval, terms.min_effect):
        what = what or ("gain" if sign > 0 else "loss")
        within = f"the interval lies within ±{terms.min_effect:g} points"
        return Judgement("contradicted", f"{within}: no {what} that matters")
    return _undecided([part], "the interval holds 0", [_to_decide(part, terms)])


def by_equivalence(part: Part, bound: float, terms: Terms) -> Judgement:
    """No difference of ``bound`` points or more is claimed.

    Replicated when the interval lies within ± the bound, contradicted when all of it lies beyond.
    """
    interval = part.difference.judged
    if not _is_whole(interval):
        return _nothing(part)
    if _is_within(interval, bound):
        return Judgement("replicated", f"the interval lies within ±{bound:g} points")
    if _is_beyond(interval, bound):
        return Judgement("contradicted", f"the whole interval lies beyond ±{bound:g} points")
    return _undecided([part], f"the interval reaches over ±{bound:g} points", [_to_bound(part, bound, terms)])


def by_order(parts: Sequence[Part], sign: int, terms: Terms) -> Judgement:
    """Every step goes up (``sign`` 1) or down (−1). Replicated when each step is, contradicted when one step is."""
    found = [by_sign(part, sign, terms) for part in parts]
    if all(each.verdict == "replicated" for each in found):
        return Judgement("replicated", f"every step lies {'above' if sign > 0 else 'below'} 0")
    wrong = [(part, each) for part in parts if (each := _strictly(part, sign, terms)) is not None]
    if wrong:
        part, judgement = wrong[0]
        return Judgement("contradicted", f"{part.name}: {judgement.reason}")
    return _open(parts, found)


def by_saturation(first: Part, last: Part, bound: float, terms: Terms) -> Judgement:
    """The first step gains and the last one changes nothing any more, within ``bound`` points.

    Contradicted when the first step is no gain, or all of the last one's interval lies beyond the bound.
    """
    gain, level = by_sign(first, 1, terms), by_equivalence(last, bound, terms)
    if gain.verdict == level.verdict == "replicated":
        return Judgement("replicated", f"the first step lies above 0, the last one within ±{bound:g} points")
    wrong = _strictly(first, 1, terms)
    if wrong is not None:
        return Judgement("contradicted", f"{first.name}: {wrong.reason}")
    if _is_whole(last.strict) and _is_beyond(last.strict, bound):
        return Judgement("contradicted", f"{last.name}: the whole interval lies beyond ±{bound:g} points")
    return _open([first, last], [gain, level])


def by_interaction(change: Part, sign: int, terms: Terms) -> Judgement:
    """The contrast is larger (``sign`` 1) or smaller (−1) in the second context: the sign of the difference of both.

    An interaction that lies within ± the smallest effect that matters contradicts, as no gain contradicts a gain.
    """
    return by_sign(change, sign, terms, "interaction")


def by_flip(first: Part, second: Part, terms: Terms) -> Judgement:
    """The contrast has opposite signs in the two contexts.

    Replicated when both intervals exclude 0, on opposite sides; contradicted when both exclude it on one side, or when
    one of the two lies within ± the smallest effect that matters and so has no sign to speak of.
    """
    sides = [_side(part.difference.judged) if _is_whole(part.difference.judged) else 0 for part in (first, second)]
    if sides[0] * sides[1] < 0:
        return Judgement("replicated", "the two intervals lie on opposite sides of 0")
    if sides[0] * sides[1] > 0:
        return Judgement("contradicted", f"both intervals lie {'above' if sides[0] > 0 else 'below'} 0")
    for part in (first, second):
        if _is_whole(part.strict) and _is_within(part.strict, terms.min_effect):
            return Judgement("contradicted", f"{part.name}: the interval lies within ±{terms.min_effect:g} points")
    open_parts = [part for part, side in zip((first, second), sides, strict=True) if side == 0]
    unmeasured = [part for part in open_parts if not _is_whole(part.difference.judged)]
    if unmeasured:
        return _nothing(unmeasured[0])
    return _undecided(
        open_parts, f"{open_parts[0].name}: the interval holds 0", [_to_decide(part, terms) for part in open_parts]
    )


def by_stability(diverged: int, runs: int, expects_divergence: bool, confidence: float) -> Judgement:
    """Whether trainings diverge, from how many of the distinct ones did.

    ``stable`` says that none does: one that diverged contradicts it, and it is replicated when none did and the exact
    interval (Clopper & Pearson 1934) of the share lies below one half. ``diverges`` says that it is the rule:
    replicated when the interval lies above one half, contradicted when below. With 95 % either takes six trainings.
    """
    if runs == 0:
        return Judgement("undecided", "no training has ended")
    low, high = clopper_pearson(diverged, runs, confidence)
    share = f"{diverged} of {runs} trainings diverged (share {_percent(low)} to {_percent(high)})"
    if not expects_divergence and diverged:
        return Judgement("contradicted", share)
    if expects_divergence and low > 0.5:
        return Judgement("replicated", share)
    if high < 0.5:
        return Judgement("contradicted" if expects_divergence else "replicated", share)
    same = next((n for n in range(1, 1000) if clopper_pearson(0, n, confidence)[1] < 0.5), None)
    return Judgement("undecided", share, same if diverged in (0, runs) else None)


def clopper_pearson(hits: int, count: int, confidence: float) -> tuple[float, float]:
    """The exact interval of a share (Clopper & Pearson 1934)."""
    from scipy.special import betaincinv

    tail = (1.0 - confidence) / 2
    low = float(betaincinv(hits, count - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, count - hits, 1.0 - tail)) if hits < count else 1.0
    return low, high


def _strictly(part: Part, sign: int, terms: Terms) -> Judgement | None:
    """The contradiction of a part at the shared confidence, if it is one."""
    if not _is_whole(part.strict):
        return None
    found = by_sign(replace(part, difference=replace(part.difference, interval=part.strict, floor=None)), sign, terms)
    return found if found.verdict == "contradicted" else None


def _open(parts: Sequence[Part], found: Sequence[Judgement]) -> Judgement:
    """Undecided because of the parts that are not replicated."""
    left = [(part, each) for part, each in zip(parts, found, strict=True) if each.verdict != "replicated"]
    seeds = [each.seeds_to_decide for _, each in left]
    known = [number for number in seeds if number is not None]
    return Judgement(
        "undecided",
        "; ".join(f"{part.name}: {each.reason}" for part, each in left),
        max(known) if len(known) == len(seeds) else None,
        any(each.is_undecidable for _, each in left),
    )


def _undecided(parts: Sequence[Part], reason: str, seeds: Sequence[int | None]) -> Judgement:
    """With the seeds that decide all parts; more than ``FAR`` times those that were run are as good as none."""
    known = [number for number in seeds if number is not None]
    run = max(1, *(part.difference.seeds for part in parts)) if parts else 1
    needed = max(known) if known and len(known) == len(seeds) else None
    if needed is not None:
        needed = max(needed, run + 1)
    is_known = all(part.deviation is not None for part in parts)
    far = is_known and (needed is None or needed > FAR * run)
    return Judgement("undecided", reason, needed, far)


def _to_decide(part: Part, terms: Terms) -> int | None:
    interval = part.difference.judged
    if part.deviation is None or interval is None:
        return None
    return seeds_to_decide(interval.mean, part.deviation, terms.min_effect, terms.confidence, terms.power)


def _to_bound(part: Part, bound: float, terms: Terms) -> int | None:
    interval = part.difference.judged
    if part.deviation is None or interval is None:
        return None
    effect = abs(interval.mean)
    if effect > bound:
        return seeds_to_detect(effect - bound, part.deviation, terms.confidence, terms.power)
    return seeds_to_equate(effect, bound, part.deviation, terms.confidence, terms.power)


def _nothing(part: Part) -> Judgement:
    why = part.difference.reason or "the samples give no interval"
    return Judgement("undecided", f"{part.name}: {why}" if part.name else why)


def _is_whole(interval: Interval | None) -> bool:
    return interval is not None and interval.low is not None and interval.high is not None


def _ends(interval: Interval | None) -> tuple[float, float]:
    assert interval is not None
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


def _side(interval: Interval | None) -> int:
    low, high = _ends(interval)
    return 1 if low > 0 else -1 if high < 0 else 0


def _is_within(interval: Interval | None, bound: float) -> bool:
    low, high = _ends(interval)
    return -bound < low and high < bound


def _is_beyond(interval: Interval | None, bound: float) -> bool:
    low, high = _ends(interval)
    return low > bound or high < -bound


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
