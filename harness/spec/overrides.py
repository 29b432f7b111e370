"""Overrides from the command line: ``key=value``, the value written in YAML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import SpecError
from harness.spec.document import parse
from harness.spec.place import Path, Place, parse_key
from harness.spec.report import Report, shown, shown_key

EXAMPLE = "write key=value, for example seeds=[0,1,2]"


@dataclass(frozen=True)
class Override:
    """``a.b[0]=value``: the path as written, the parsed value, and the text itself as its place."""

    path: Path
    value: Any
    place: Place


def parse_overrides(texts: Sequence[str], report: Report) -> list[Override]:
    """All overrides that can be read; what is wrong with the others goes to the report."""
    if isinstance(texts, str):
        raise TypeError("overrides are a list of texts, not one text")
    found = []
    for text in texts:
        place = Place(f"override {shown(text)}")
        key, equals, value = text.partition("=")
        if not equals:
            report.add("an override has no `=`", place, remedy=EXAMPLE)
            continue
        try:
            path = parse_key(key.strip())
        except ValueError as error:
            report.add(str(error), place, remedy=EXAMPLE)
            continue
        if not isinstance(path[0], str):
            report.add(f"{shown_key(key)} does not start with a key", place, remedy=EXAMPLE)
            continue
        try:
            found.append(Override(path, parse(value, place.file, place).value, place))
        except SpecError as error:
            for problem in error.problems:
                report.add(problem.message, place, key, problem.remedy)
    return found
