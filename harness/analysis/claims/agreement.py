"""The claims of all sweeps together: how often we agree with the literature, and where it disagrees with itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.claims.judgements import clopper_pearson
from harness.analysis.claims.results import ClaimResult
from harness.analysis.statistics.differences import rounded
from harness.spec import published

CHANCE = 0.5


@dataclass(frozen=True)
class Agreement:
    """``agree`` of ``count`` signs are as claimed; the exact interval of the share (Clopper & Pearson 1934)."""

    agree: int
    count: int
    confidence: float

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval of the share; ``None`` of nothing."""
        return clopper_pearson(self.agree, self.count, self.confidence) if self.count else None

    @property
    def is_beyond_chance(self) -> bool | None:
        """Whether the interval excludes one half, on either side."""
        interval = self.interval
        return None if interval is None else not interval[0] <= CHANCE <= interval[1]

    def to_json(self) -> dict[str, Any]:
        """JSON values, stable keys."""
        low, high = self.interval or (None, None)
        return {
            "agree": self.agree,
            "count": self.count,
            "share": rounded(self.agree / self.count) if self.count else None,
            "low": rounded(low),
            "high": rounded(high),
            "confidence": self.confidence,
            "chance": CHANCE,
            "beyond_chance": self.is_beyond_chance,
        }


@dataclass(frozen=True)
class Conflict:
    """Two claims of the literature that contradict each other, and our verdicts by sweep on each (if any)."""

    first: str
    second: str
    remark: str
    verdicts: Mapping[str, tuple[tuple[str, str], ...]]

    def to_json(self) -> dict[str, Any]:
        """JSON values, stable keys."""
        return {
            "claims": [self.first, self.second],
            "remark": self.remark,
            "verdicts": {
                claim: [{"sweep": sweep, "verdict": verdict} for sweep, verdict in found]
                for claim, found in self.verdicts.items()
            },
        }


@dataclass(frozen=True)
class Summary:
    """All claims of the sweeps in a results folder; ``unread`` are sweeps that could not be read, with the reason.

    ``decided``: signs of claims whose interval excludes 0; ``measured``: of all sign claims, decided or not. A claim
    that several sweeps test counts as often; ``distinct`` counts it once.
    """

    results: Mapping[str, tuple[ClaimResult, ...]]
    unread: Mapping[str, str]
    confidence: float = 0.95

    @property
    def tested(self) -> tuple[tuple[str, ClaimResult], ...]:
        """Claims with something to judge by, each with its sweep."""
        return tuple((sweep, each) for sweep, found in self.results.items() for each in found if each.is_tested)

    @property
    def distinct(self) -> int:
        """How many different claims were tested."""
        return len({each.claim.id for _, each in self.tested})

    def count(self, verdict: str) -> int:
        """How many of the tested claims have this verdict."""
        return sum(each.judgement.verdict == verdict for _, each in self.tested)

    @property
    def decided(self) -> Agreement:
        """Of the sign claims whose interval excludes 0."""
        return self._agreement(only_decided=True)

    @property
    def measured(self) -> Agreement:
        """Of all sign claims by their estimates: more claims, each less sure."""
        return self._agreement(only_decided=False)

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """Contradictions within the literature that the tested claims are part of."""
        return literature_conflicts([(sweep, each) for sweep, each in self.tested])

    def to_json(self) -> dict[str, Any]:
        """JSON values, stable keys."""
        return {
            "claims": sum(len(found) for found in self.results.values()),
            "tested": len(self.tested),
            "distinct": self.distinct,
            "decided": self.count("replicated") + self.count("contradicted"),
            "replicated": self.count("replicated"),
            "contradicted": self.count("contradicted"),
            "undecided": self.count("undecided"),
            "undecidable": sum(each.judgement.is_undecidable for _, each in self.tested),
            "conditional": sum(each.is_conditional for _, each in self.tested),
            "sign_agreement": {"decided": self.decided.to_json(), "measured": self.measured.to_json()},
            "literature_conflicts": [conflict.to_json() for conflict in self.conflicts],
            "sweeps": {name: [each.to_json() for each in found] for name, found in self.results.items()},
            "unread": dict(self.unread),
        }

    def _agreement(self, only_decided: bool) -> Agreement:
        signs = []
        for _, each in self.tested:
            if each.claim.type != "sign" or each.main is None or each.main.difference.judged is None:
                continue
            interval = each.main.difference.judged
            is_decided = (
                interval.low is not None and interval.high is not None and not interval.low <= 0 <= interval.high
            )
            if interval.mean != 0.0 and (is_decided or not only_decided):
                signs.append((interval.mean > 0) == (each.claim.expect == "better"))
        return Agreement(sum(signs), len(signs), self.confidence)


def literature_conflicts(tested: Sequence[tuple[str, ClaimResult]]) -> tuple[Conflict, ...]:
    """Pairs of published claims that the papers' table calls contradictory, with one of them tested."""
    verdicts: dict[str, list[tuple[str, str]]] = {}
    for sweep, each in tested:
        verdicts.setdefault(each.claim.id, []).append((sweep, each.judgement.verdict))
    found: dict[frozenset[str], Conflict] = {}
    for claim, rows in published.published_claims(published.FOLDER).items():
        for remark in dict.fromkeys(row["conflicts_or_support"] for row in rows):
            for other, relation in published.related(remark):
                if relation != "conflict" or not {claim, other} & verdicts.keys() or claim == other:
                    continue
                first, second = (claim, other) if claim in verdicts else (other, claim)
                known = {name: tuple(verdicts.get(name, ())) for name in (first, second)}
                found.setdefault(frozenset((claim, other)), Conflict(first, second, remark, known))
    return tuple(sorted(found.values(), key=lambda conflict: (conflict.first, conflict.second)))
