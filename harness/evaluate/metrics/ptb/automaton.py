"""A longest-match scanner built from regular expressions.

Python's ``re`` takes the first alternative that fits; a lexer of the Lex family takes the longest match over all
rules, and among equally long ones the rule that stands first. That difference decides where words are cut, so the
rules are compiled here into one deterministic automaton, built lazily: a state is made when a text first reaches it.
Nothing backtracks, so no caption can make a pattern explode.

Understood in a pattern: literals, ``\\`` before a special character, classes ``[a-z]``, ``[^a-z]`` and ``[^]`` (any
character), groups ``(...)`` and ``(?i:...)`` (either case), ``|``, ``*``, ``+``, ``?``, ``{m}`` and ``{m,n}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Step:
    """A move that consumes one character: any of ``members``, or with ``negated`` any other."""

    members: frozenset[str]
    negated: bool
    target: int

    def takes(self, character: str) -> bool:
        """Whether ``character`` can make this move."""
        return (character in self.members) is not self.negated


class Network:
    """States numbered from 0, at most one character step and any number of free jumps out of each (Thompson 1968)."""

    def __init__(self) -> None:
        self.steps: list[Step | None] = []
        self.jumps: list[list[int]] = []

    def add_state(self) -> int:
        """A new state without moves."""
        self.steps.append(None)
        self.jumps.append([])
        return len(self.steps) - 1

    def reachable(self, states: Iterable[int]) -> frozenset[int]:
        """``states`` and all that can be reached from them by jumps."""
        waiting = list(states)
        seen = set(waiting)
        while waiting:
            for target in self.jumps[waiting.pop()]:
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return frozenset(seen)


class PatternReader:
    """Recursive descent over one pattern; every method adds its part to ``network`` and returns (first, last) state."""

    def __init__(self, pattern: str, network: Network) -> None:
        self.pattern = pattern
        self.network = network
        self.position = 0
        self.either_case = False

    def read(self) -> tuple[int, int]:
        """The whole pattern; ValueError where it cannot be read."""
        ends = self._alternatives()
        if self.position != len(self.pattern):
            raise ValueError(f"{self.pattern!r}: unexpected {self._peek()!r} at {self.position}")
        return ends

    def _peek(self) -> str:
        return self.pattern[self.position : self.position + 1]

    def _take(self) -> str:
        character = self._peek()
        if not character:
            raise ValueError(f"{self.pattern!r} ends too early")
        self.position += 1
        return character

    def _alternatives(self) -> tuple[int, int]:
        first, last = self.network.add_state(), self.network.add_state()
        while True:
            begin, end = self._sequence()
            self.network.jumps[first].append(begin)
            self.network.jumps[end].append(last)
            if self._peek() != "|":
                return first, last
            self._take()

    def _sequence(self) -> tuple[int, int]:
        first = last = self.network.add_state()
        while self._peek() not in ("", "|", ")"):
            begin, end = self._repetition()
            self.network.jumps[last].append(begin)
            last = end
        return first, last

    def _repetition(self) -> tuple[int, int]:
        source = self.position
        begin, end = self._single()
        sign = self._peek()
        if not sign or sign not in "*+?{":
            return begin, end
        self._take()
        least, most = self._bounds() if sign == "{" else {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
        rest = self.position
        jumps = self.network.jumps
        first, last = self.network.add_state(), self.network.add_state()
        previous = first
        for copy in range(1 if most is None else most):
            if copy:  # a state belongs to one copy only, so the piece is read again
                self.position = source
                begin, end = self._single()
            if copy >= least:
                jumps[previous].append(last)
            jumps[previous].append(begin)
            previous = end
        jumps[previous].append(last)
        if most is None:
            jumps[end].append(begin)
        self.position = rest
        return first, last

    def _bounds(self) -> tuple[int, int]:
        text, _, _ = self.pattern[self.position :].partition("}")
        self.position += len(text) + 1
        least, comma, most = text.partition(",")
        return int(least), int(most if comma else least)

    def _single(self) -> tuple[int, int]:
        character = self._take()
        if character == "(":
            return self._group()
        if character == "[":
            return self._class()
        return self._step({self._take() if character == "\\" else character}, negated=False)

    def _group(self) -> tuple[int, int]:
        outside = self.either_case
        if self.pattern.startswith("?i:", self.position):
            self.position += len("?i:")
            self.either_case = True
        ends = self._alternatives()
        if self._take() != ")":
            raise ValueError(f"{self.pattern!r}: a bracket is not closed")
        self.either_case = outside
        return ends

    def _class(self) -> tuple[int, int]:
        negated = self._peek() == "^"
        if negated:
            self._take()
        members: set[str] = set()
        while self._peek() != "]":
            low = high = self._class_member()
            if self._peek() == "-":
                self._take()
                high = self._class_member()
            members.update(map(chr, range(ord(low), ord(high) + 1)))
        self._take()
        return self._step(members, negated)

    def _class_member(self) -> str:
        character = self._take()
        return self._take() if character == "\\" else character

    def _step(self, members: set[str], negated: bool) -> tuple[int, int]:
        if self.either_case:
            members = {form for member in members for form in (member.lower(), member.upper())}
        first, last = self.network.add_state(), self.network.add_state()
        self.network.steps[first] = Step(frozenset(members), negated, last)
        return first, last


@dataclass(eq=False)
class State:
    """A set of network states; ``pattern`` is the first pattern that is complete here, or -1."""

    steps: tuple[Step, ...]
    pattern: int
    following: dict[str, State | None] = field(default_factory=dict)


class Automaton:
    """Recognises prefixes that match any of ``patterns``; the first pattern wins among equally long matches."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._network = Network()
        self._complete: dict[int, int] = {}
        self._states: dict[frozenset[int], State] = {}
        beginnings = []
        for index, pattern in enumerate(patterns):
            first, last = PatternReader(pattern, self._network).read()
            beginnings.append(first)
            self._complete[last] = index
        self._start = self._state(beginnings)

    def _state(self, members: Iterable[int]) -> State:
        reachable = self._network.reachable(members)
        state = self._states.get(reachable)
        if state is None:
            steps = tuple(step for step in map(self._network.steps.__getitem__, reachable) if step is not None)
            pattern = min((self._complete[member] for member in reachable if member in self._complete), default=-1)
            state = self._states[reachable] = State(steps, pattern)
        return state

    def _follow(self, state: State, character: str) -> State | None:
        targets = [step.target for step in state.steps if step.takes(character)]
        following = state.following[character] = self._state(targets) if targets else None
        return following

    def longest(self, text: str, start: int) -> tuple[int, int]:
        """Pattern and end of the longest match that begins at ``start``; ``(-1, start)`` when there is none."""
        pattern, end = -1, start
        state = self._start
        for position in range(start, len(text)):
            character = text[position]
            try:
                following = state.following[character]
            except KeyError:
                following = self._follow(state, character)
            if following is None:
                break
            state = following
            if state.pattern >= 0:
                pattern, end = state.pattern, position + 1
        return pattern, end

    def ends(self, text: str, start: int, stop: int) -> list[int]:
        """Every position up to ``stop`` at which a match that begins at ``start`` may end, in rising order."""
        found = []
        state = self._start
        for position in range(start, stop):
            character = text[position]
            following = state.following[character] if character in state.following else self._follow(state, character)
            if following is None:
                break
            state = following
            if state.pattern >= 0:
                found.append(position + 1)
        return found
