"""Errors that are meant for the user: what happened, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class HarnessError(Exception):
    """Something the user can act on; the command line prints it without a traceback and exits with 1.

    ``remedy`` says what to do next.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.remedy}" if self.remedy else self.message


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a spec, and where it stands (``line`` and ``column`` count from 1; 0 = unknown)."""

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    key: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        head = ": ".join(part for part in (place, self.key, self.message) if part)
        return f"{head}\n  → {self.remedy}" if self.remedy else head


class SpecError(HarnessError):
    """A sweep file, an override or a command that cannot be understood; exit code 2. Carries every problem found."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem] | str, remedy: str = "") -> None:
        if isinstance(problems, str):
            problems = [Problem(problems, remedy=remedy)]
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
