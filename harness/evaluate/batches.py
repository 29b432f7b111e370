"""Which queries are decoded together: a pure function of the list of prompts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from harness.evaluate.conditions import CONDITIONS, Condition
from harness.evaluate.hashing import sha256
from harness.evaluate.prompts import Prompt, Segment


@dataclass(frozen=True)
class Batch:
    """Prompts of one condition with the same demonstrations."""

    prompts: tuple[Prompt, ...]

    @property
    def condition(self) -> Condition:
        """The condition of all prompts."""
        return self.prompts[0].condition

    @property
    def demonstrations(self) -> tuple[Segment, ...]:
        """What all prompts begin with."""
        return self.prompts[0].demonstrations

    @cached_property
    def sha256(self) -> str:
        """Digest of its prompts: names the batch among its results."""
        return sha256("batch", [[prompt.condition, prompt.sample_id, prompt.sha256] for prompt in self.prompts])


def make_batches(prompts: Iterable[Prompt], batch_size: int) -> tuple[Batch, ...]:
    """At most ``batch_size`` prompts each, by condition, demonstration set and length of the query.

    The order of ``prompts`` does not matter. Lengths are those of the text, so that all variants of a sweep, whatever
    their tokenizers and visual tokens, are batched alike.
    """

    def key(prompt: Prompt) -> tuple[int, int, int, str, str]:
        condition = CONDITIONS.index(prompt.condition)
        return condition, prompt.demonstration_set, len(prompt.query.prompt), prompt.sample_id, prompt.sha256

    groups: dict[tuple[int, tuple[Segment, ...]], list[Prompt]] = {}
    for prompt in sorted(prompts, key=key):
        groups.setdefault((CONDITIONS.index(prompt.condition), prompt.demonstrations), []).append(prompt)
    return tuple(Batch(chunk) for group in groups.values() for chunk in _chunks(group, batch_size))


def _chunks(prompts: Sequence[Prompt], size: int) -> list[tuple[Prompt, ...]]:
    """As few chunks as possible, of nearly equal size: a last batch of one query would cost as much as a full one."""
    count = -(-len(prompts) // size)
    edges = [len(prompts) * number // count for number in range(count + 1)]
    return [tuple(prompts[start:end]) for start, end in pairwise(edges)]
