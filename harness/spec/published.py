"""What the papers report, as data: ``claims.csv`` holds the statements, one file a paper holds its numbers.

The tables are there in a checkout and absent where only the package is installed. Columns and sources:
``results/published/README.md``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from harness.errors import HarnessError

FOLDER = Path(__file__).parents[2] / "results" / "published"
CLAIMS = "claims.csv"

Row = Mapping[str, str]

_CLAIM_COLUMNS = (
    *("claim_id", "paper", "table", "factor", "level_a", "level_b", "benchmark", "shots", "metric"),
    *("value_a", "value_b", "effect_b_minus_a", "direction", "check", "size_class", "conditions"),
    *("conflicts_or_support", "source"),
)
_NUMBER_COLUMNS = (
    *("paper", "source", "table", "variant", "factor", "level", "benchmark", "shots", "metric", "value"),
    "transcribed_from",
)
_IDS = re.compile(r"\b([A-Z][A-Z0-9]{1,2})-(\d\d[a-z]?)((?:/\d\d[a-z]?)*)")
_RELATION = re.compile(r"conflict|opposite|support|qualifies", re.IGNORECASE)
_BOUND = re.compile(r"<\s*([0-9]+(?:\.[0-9]+)?)")


@cache
def published_claims(folder: Path = FOLDER) -> Mapping[str, tuple[Row, ...]]:
    """The rows of each claim by its id, one row a measurement; empty without the table.

    Raises ``HarnessError`` when the table lacks columns or cannot be read.
    """
    found: dict[str, tuple[Row, ...]] = {}
    path = folder / CLAIMS
    for row in _rows(path, _CLAIM_COLUMNS) if path.is_file() else ():
        found[row["claim_id"]] = (*found.get(row["claim_id"], ()), row)
    return found


@cache
def published_numbers(folder: Path = FOLDER) -> tuple[Row, ...]:
    """All cells of the papers' tables, one row a cell, with paper, table, shots and source; paper by paper."""
    paths = sorted(path for path in folder.glob("*.csv") if path.name != CLAIMS)
    return tuple(row for path in paths for row in _rows(path, _NUMBER_COLUMNS))


def published_bound(claim: str, folder: Path = FOLDER) -> tuple[float, str] | None:
    """The paper's own bound of an equivalence in points, and where it says so.

    Either the claim's own (``equivalence (<1)``), or the noise that the paper reports for all of its comparisons
    (a claim to be checked as ``noise floor``).
    """
    claims = published_claims(folder)
    rows = claims.get(claim, ())
    for row in rows:
        own = _BOUND.search(row["check"])
        if own is not None:
            return float(own[1]), f"{row['paper']} {row['table']}".strip()
    papers = {row["paper"] for row in rows}
    for other, found in claims.items():
        for row in found:
            floor = _BOUND.search(row["effect_b_minus_a"])
            if row["check"] == "noise floor" and row["paper"] in papers and floor is not None:
                return float(floor[1]), f"the noise that {row['paper']} reports, {other}"
    return None


def related(text: str) -> tuple[tuple[str, str], ...]:
    """The claims that a remark names, each with how it relates: ``conflict``, ``support``, ``qualifies`` or ``see``.

    ``conflict: PM-08; support: B2-03/04`` names three. A word counts for the ids that follow it.
    """
    words = [(match.start(), match[0].lower()) for match in _RELATION.finditer(text)]
    found: dict[str, str] = {}
    for match in _IDS.finditer(text):
        before = [word for start, word in words if start < match.start()]
        relation = before[-1] if before else "see"
        for number in (match[2], *match[3].split("/")[1:]):
            found.setdefault(f"{match[1]}-{number}", "conflict" if relation == "opposite" else relation)
    return tuple(found.items())


def relations(claim: str, folder: Path = FOLDER) -> tuple[tuple[str, str], ...]:
    """The other claims that support this one or contradict it, by their remarks or by its own; conflicts first."""
    found: dict[str, str] = {}
    for other, rows in published_claims(folder).items():
        for row in rows:
            for named, relation in related(row["conflicts_or_support"]):
                if other == claim != named:
                    found.setdefault(named, relation)
                elif named == claim != other:
                    found.setdefault(other, relation)
    return tuple(sorted(found.items(), key=lambda item: (item[1] != "conflict", item[1], item[0])))


def _rows(path: Path, columns: tuple[str, ...]) -> tuple[Row, ...]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            rows = tuple({name: (row.get(name) or "").strip() for name in columns} for row in reader)
    except (OSError, UnicodeError, csv.Error) as error:
        raise HarnessError(f"{path} cannot be read: {error}", "Restore it from the repository.") from error
    if missing:
        raise HarnessError(f"{path} has no column {', '.join(missing)}", "Restore it from the repository.")
    return rows
