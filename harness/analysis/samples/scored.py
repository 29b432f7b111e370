"""The scores of one design by training seed."""

from __future__ import annotations

from functools import cached_property

from harness.analysis.samples.scores import Incomparable, TaskScores, check_comparable
from harness.analysis.samples.values import mean


class Scored(dict[int, list[TaskScores]]):
    """By seed, the scores of the same benchmarks in the same order. Not changed once it is made."""

    @cached_property
    def means(self) -> dict[int, float]:
        """By seed, the plain mean of the benchmarks' means."""
        return {
            seed: scores[0].mean if len(scores) == 1 else mean([score.mean for score in scores])
            for seed, scores in self.items()
        }

    def only(self, subset: str) -> Scored:
        """The scores of one subset."""
        return Scored({seed: [score.only(subset) for score in scores] for seed, scores in self.items()})

    @cached_property
    def ways(self) -> frozenset[tuple[tuple[str, int], ...]]:
        """The ways in which seeds were asked and scored: one, or several that may be equal all the same."""
        return frozenset(tuple((score.metric, id(score.questions)) for score in scores) for scores in self.values())


def check_all(found: list[Scored]) -> None:
    """Raises ``Incomparable`` unless all were asked the very same and scored alike."""
    if len({each.ways for each in found}) == 1 and len(found[0].ways) == 1:
        return  # there are contrasts of thousands of runs, which were asked by one and the same object
    first, *others = (scores for each in found for scores in each.values())
    for other in others:
        for one, two in zip(first, other, strict=True):
            check_comparable(one, two)


def are_comparable(found: list[Scored]) -> bool:
    """Whether all were asked the very same and scored alike."""
    try:
        check_all(found)
    except Incomparable:
        return False
    return True
