"""Which stages go into which job array: alike in what they ask for, waiting for the same.

A dependency belongs to a whole array. Two kinds of it let every task wait for its own inputs and no others:
``aftercorr`` (a task waits for the one of the same number in another array) and ``afterok`` of one task that all wait
for. So an evaluation takes the number of its training, and trainings that read the same features share an array.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.store import Stage


@dataclass(frozen=True, order=True)
class Place:
    """A task: of an array in the queue (``source`` is its job id) or of one to be submitted (its position)."""

    source: str | int
    number: int


@dataclass(frozen=True)
class After:
    """What an array waits for: task ``number`` of ``source``, or (``None``) each task for the one of its own number."""

    source: str | int
    number: int | None = None

    def words(self, job: str) -> str:
        """The condition as Slurm writes it; ``job`` is the source's id."""
        return f"aftercorr:{job}" if self.number is None else f"afterok:{job}_{self.number}"


@dataclass(frozen=True)
class Array:
    """Stages by task number, alike in their wish."""

    wish: Hashable
    tasks: Mapping[int, Stage]
    after: tuple[After, ...] = ()


def arrange(
    stages: Iterable[Stage], queued: Mapping[str, Place], wish: Callable[[Stage], Hashable], limit: int
) -> list[Array]:
    """Arrays of the stages, which are given inputs first; an array comes after those that it waits for.

    ``queued`` are the places of stages whose jobs are in the queue already. Inputs that are in neither are done, or are
    looked for by the job itself. Task numbers lie below ``limit``. Every stage waits for all of its inputs that have a
    place, and for nothing else.
    """
    ordered = list(stages)
    places = dict(queued)
    arrays: list[Array] = []
    for generation in _generations(ordered):
        for group in _grouped(generation, places, wish):
            for array in min(_by_wait(group, places, limit), _by_number(group, places), key=len):
                places.update({stage.id: Place(len(arrays), number) for number, stage in array.tasks.items()})
                arrays.append(Array(wish(group[0]), array.tasks, array.after))
    return arrays


def _generations(stages: Sequence[Stage]) -> list[list[Stage]]:
    """Stages that need none of the others, those that need only these, and so on."""
    depth: dict[str, int] = {}
    found: list[list[Stage]] = []
    for stage in stages:
        own = max((depth[stage_id] + 1 for stage_id in stage.inputs.values() if stage_id in depth), default=0)
        depth[stage.id] = own
        if own == len(found):
            found.append([])
        found[own].append(stage)
    return found


def _grouped(
    stages: Sequence[Stage], places: Mapping[str, Place], wish: Callable[[Stage], Hashable]
) -> list[list[Stage]]:
    """Stages of one kind and wish that wait for tasks of the same arrays."""
    groups: dict[Hashable, list[Stage]] = {}
    for stage in stages:
        sources = frozenset(place.source for place in _waited_for(stage, places))
        groups.setdefault((stage.kind, wish(stage), sources), []).append(stage)
    return list(groups.values())


def _waited_for(stage: Stage, places: Mapping[str, Place]) -> list[Place]:
    return [places[stage_id] for stage_id in dict.fromkeys(stage.inputs.values()) if stage_id in places]


def _by_wait(group: Sequence[Stage], places: Mapping[str, Place], limit: int) -> list[Array]:
    """One array for all that wait for the very same tasks."""
    parts: dict[frozenset[Place], list[Stage]] = {}
    for stage in group:
        parts.setdefault(frozenset(_waited_for(stage, places)), []).append(stage)
    arrays = []
    for waited, part in parts.items():
        after = _sorted(After(place.source, place.number) for place in waited)
        for first in range(0, len(part), limit):
            arrays.append(Array(None, dict(enumerate(part[first : first + limit])), after))
    return arrays


def _by_number(group: Sequence[Stage], places: Mapping[str, Place]) -> list[Array]:
    """Arrays whose tasks take the number of one that they wait for: the one of which there are most."""
    if not _waited_for(group[0], places):
        return [Array(None, {}, ())] * (len(group) + 1)  # nothing to take numbers from: never the shorter list
    numbers: dict[str | int, set[int]] = {}
    for stage in group:
        for place in _waited_for(stage, places):
            numbers.setdefault(place.source, set()).add(place.number)
    leader = max(numbers, key=lambda source: (len(numbers[source]), str(source)))
    parts: dict[Hashable, dict[int, Stage]] = {}
    seconds: dict[Hashable, tuple[After, ...]] = {}
    for stage in group:
        waited = _waited_for(stage, places)
        number = next(place.number for place in waited if place.source == leader)
        after = _sorted(
            After(p.source)
            if p.number == number and (p.source == leader or len(numbers[p.source]) > 1)
            # All wait for this one task, also the stage that happens to have its number.
            else After(p.source, p.number)
            for p in waited
        )
        rank = 0
        while number in parts.get((rank, after), {}):
            rank += 1
        parts.setdefault((rank, after), {})[number] = stage
        seconds[rank, after] = after
    return [Array(None, tasks, seconds[key]) for key, tasks in parts.items()]


def _sorted(after: Iterable[After]) -> tuple[After, ...]:
    return tuple(sorted(set(after), key=lambda each: (str(each.source), -1 if each.number is None else each.number)))
