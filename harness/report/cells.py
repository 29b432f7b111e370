"""The cells of a table as text: the same words in the terminal, in Markdown and in the live view."""

from __future__ import annotations

from harness.analysis.statistics.intervals import Interval
from harness.analysis.tables.table import Difference, Row, Score

NOTHING = "–"
EQUIVALENT = "≈"
AS_BASELINE = "·"
REFUSED = "n/c"
MINUS = "−"
SCALE = 100
"""What an accuracy can be at most. An interval that reaches further on both sides, past 0, says nothing: its digits
would only look like a mistake."""

TITLES = {"vqav2": "VQAv2", "textvqa": "TextVQA", "okvqa": "OK-VQA", "coco": "COCO", "docvqa": "DocVQA", "mean": "mean"}


def title(benchmark: str) -> str:
    """A benchmark as people write it."""
    return TITLES.get(benchmark, benchmark)


def points(value: float | None, signed: bool = False) -> str:
    """``84.25`` → ``84.3``, with a true minus."""
    if value is None:
        return NOTHING
    text = f"{value:+.1f}" if signed else f"{value:.1f}"
    if float(text) == 0:
        text = "0.0"
    return text.replace("-", MINUS)


def short(interval: Interval | None, signed: bool = False) -> str:
    """``84.3 ±2.1``; in brackets where the interval is not symmetric; ``84.3 ±>100`` where it says nothing."""
    if interval is None:
        return NOTHING
    middle, low, high = interval.mean, interval.low, interval.high
    if low is None or high is None:
        return points(middle, signed)
    if abs((high - middle) - (middle - low)) < 0.05:
        half = (high - low) / 2
        says_nothing = half > SCALE and half > abs(middle)
        return f"{points(middle, signed)} ±{f'>{SCALE}' if says_nothing else f'{half:.1f}'}"
    return long(interval, signed)


def long(interval: Interval | None, signed: bool = False) -> str:
    """``84.3 [82.2, 86.4]``."""
    if interval is None:
        return NOTHING
    if interval.low is None or interval.high is None:
        return points(interval.mean, signed)
    return f"{points(interval.mean, signed)} [{points(interval.low, signed)}, {points(interval.high, signed)}]"


def score(value: Score | None, brief: bool = False) -> str:
    """A score with its interval."""
    interval = value.interval if value else None
    return short(interval) if brief else long(interval)


def absent(row: Row) -> str:
    """The word in the place of a score that is not there: why."""
    return REFUSED if row.status == "complete" else row.status


def difference(value: Difference | None, row: Row, brief: bool = False) -> str:
    """A difference to the baseline; the baseline itself has none."""
    return "baseline" if row.variant.is_baseline else change(value, brief)


def change(value: Difference | None, brief: bool = False) -> str:
    """A difference with the interval that its verdict is about, ``≈`` before one that is equivalent."""
    if value is None or value.interval is None:
        return REFUSED if value is not None and value.reason.startswith("not ") else NOTHING
    text = short(value.judged, signed=True) if brief else long(value.judged, signed=True)
    return f"{EQUIVALENT} {text}" if value.verdict == "equivalent" else text


def is_decided(value: Difference | None) -> bool:
    """Whether a difference is better or worse after correction: only then it may be bold."""
    return value is not None and value.verdict in ("better", "worse")


def verdict(value: Difference | None) -> str:
    """``worse``, ``inconclusive (7 seeds)``: the seeds that would decide, if the difference stays what it is."""
    if value is None or value.verdict is None:
        return NOTHING
    return f"{value.verdict} ({value.seeds_to_decide} seeds)" if value.seeds_to_decide else value.verdict


def interaction(value: Difference) -> str:
    """The verdict on an interaction: what is more than a sum is not better than anything."""
    words = {"better": "positive", "worse": "negative"}
    return words.get(value.verdict or "", value.verdict or NOTHING)


def blind(value: Score | None) -> str:
    """The best blind control."""
    return points(value.blind) if value else NOTHING


def seeds(row: Row) -> str:
    """``1/3``: seeds whose runs are complete, of those planned."""
    return f"{len(row.seeds)}/{len(row.runs)}"
