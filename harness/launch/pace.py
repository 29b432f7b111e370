"""How long what is not done will take: by the speed of the attempt at work, or by what others of its kind took.

No clocks are compared: a speed is made of two reports of one process, each with the seconds that it had been at work.
"""

from __future__ import annotations

import statistics
from bisect import bisect
from collections.abc import Iterable, Mapping
from typing import Any

NEAREST = 5  # finished stages, the nearest in FLOPs, whose speed counts


def seconds_left(told: Mapping[str, Any]) -> float | None:
    """Seconds from a stage's last report to its end, by the speed between the first report of that attempt and it.

    ``told`` is what ``Store.progress`` returns. ``None`` where the two do not tell a speed.
    """
    try:
        first, last = told["first"], told["progress"]
        done = last["step"] - first["progress"]["step"]
        spent = told["wall_seconds"] - first["wall_seconds"]
        return float(spent / done * (last["steps"] - last["step"])) if done > 0 and spent >= 0 else None
    except (KeyError, TypeError, AttributeError):
        return None


def share_left(progress: Mapping[str, Any]) -> float:
    """What part of a stage is left by its last report, 0 to 1; it resumes near there."""
    step, steps = progress.get("step"), progress.get("steps")
    if isinstance(step, int) and isinstance(steps, int) and 0 < step <= steps:
        return 1.0 - step / steps
    return 1.0


class Pace:
    """What stages take, from finished ones of the same kind: ``(kind, FLOPs, seconds)`` of each."""

    def __init__(self, finished: Iterable[tuple[str, int, float]]) -> None:
        self._kinds: dict[str, list[tuple[int, float]]] = {}
        for kind, flops, seconds in finished:
            self._kinds.setdefault(kind, []).append((flops, seconds))
        for known in self._kinds.values():
            known.sort()
        self._found: dict[tuple[str, int], float | None] = {}

    def seconds(self, kind: str, flops: int) -> float | None:
        """Seconds for so many FLOPs (0: not known, then as long as the others); ``None`` where nothing is finished."""
        key = (kind, flops)
        if key not in self._found:
            self._found[key] = self._estimate(self._kinds.get(kind, []), flops)
        return self._found[key]

    def _estimate(self, known: list[tuple[int, float]], flops: int) -> float | None:
        if not known:
            return None
        alike = [seconds for each, seconds in known if each == flops > 0]
        if alike:
            return statistics.median(alike)
        place = bisect(known, (flops, 0.0))
        around = known[max(0, place - NEAREST) : place + NEAREST]
        nearest = sorted(around, key=lambda each: abs(each[0] - flops))[:NEAREST]
        rates = [seconds / each for each, seconds in nearest if each > 0]
        if flops > 0 and rates:
            return statistics.median(rates) * flops
        return statistics.median(seconds for _, seconds in known)
