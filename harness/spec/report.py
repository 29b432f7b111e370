"""Collecting everything that is wrong with a spec, so that all of it is shown at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from harness.errors import Problem, SpecError
from harness.spec.place import Path, Place, dotted

MAX_SHOWN = 40


class Report:
    """The problems found so far, each once.

    ``raise_if_any`` ends the work with a :class:`~harness.errors.SpecError`; nothing of a wrong spec is ever returned.
    """

    def __init__(self) -> None:
        self._problems: dict[tuple[str, int, int, str, str], Problem] = {}
        self._causes: dict[tuple[str, int, int, str, str], tuple[Place, ...]] = {}

    def __len__(self) -> int:
        return len(self._problems)

    def add(
        self, message: str, place: Place, key: Path | str = "", remedy: str = "", unless: Iterable[Place] = ()
    ) -> None:
        """Note one problem; ``key`` is the key as the user would write it.

        It is not told where something is wrong at one of the places ``unless``, which it would only follow from.
        """
        name = key if isinstance(key, str) else dotted(key)
        problem = Problem(message, place.file, place.line, place.column, shown_key(name), remedy)
        identity = (place.file, place.line, place.column, problem.key, message)
        self._problems.setdefault(identity, problem)
        self._causes.setdefault(identity, tuple(unless))

    def absorb(self, error: SpecError) -> None:
        """Note the problems of an error that was raised elsewhere."""
        for problem in error.problems:
            place = Place(problem.file, problem.line, problem.column)
            self.add(problem.message, place, problem.key, problem.remedy)

    def raise_if_any(self) -> None:
        """Raise every problem found, in the order of the files' lines."""
        if not self._problems:
            return
        found = self._first()
        files = list(dict.fromkeys(problem.file for problem in found))
        problems = sorted(found, key=lambda p: (files.index(p.file), p.line, p.column))
        if len(problems) > MAX_SHOWN:
            more = len(problems) - MAX_SHOWN
            problems = [
                *problems[:MAX_SHOWN],
                Problem(f"… and {more} more", remedy="mend the first ones and try again"),
            ]
        raise SpecError(problems)

    def _first(self) -> list[Problem]:
        """The problems that do not follow from others."""
        places = {(p.file, p.line, p.column) for i, p in self._problems.items() if not self._causes[i]}
        return [
            problem
            for identity, problem in self._problems.items()
            if not any((cause.file, cause.line, cause.column) in places for cause in self._causes[identity])
        ]


def shown(value: object, limit: int = 60) -> str:
    """A value as it may be printed in a message: short, on one line, and without control characters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing (null)"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def shown_key(text: str, limit: int = 120) -> str:
    """A key as it may be printed: control characters escaped, cut where it is too long."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` is most likely meant to be, if any is near enough."""
    by_folded = {candidate.lower().replace("-", "_"): candidate for candidate in known}
    found = difflib.get_close_matches(word[:200].lower().replace("-", "_"), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def suggestion(word: str, known: Iterable[str], noun: str = "known") -> str:
    """``did you mean x?`` where a known word is near, else the list of known words."""
    words = list(known)
    match = nearest(word, words)
    if match is not None:
        return f"did you mean {match}?"
    if not words:
        return f"there are no {noun} here"
    return f"{noun}: {', '.join(words[:20])}{', …' if len(words) > 20 else ''}"
