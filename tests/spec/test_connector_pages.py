"""What docs/connectors.md and docs/images.md say of the connectors is what the registry says of them."""

from __future__ import annotations

import re
from pathlib import Path

import harness
from harness.spec.connectors import CONNECTORS
from harness.spec.visual_tokens import ANY_NUMBER, EVEN_SQUARE, NEIGHBOURHOODS, ONE_A_PATCH, SQUARE

DOCS = Path(harness.__file__).parents[1] / "docs"
CONNECTOR_PAGE, IMAGE_PAGE = ((DOCS / name).read_text(encoding="utf-8") for name in ("connectors.md", "images.md"))
WORDS = {
    "one a patch": ONE_A_PATCH,
    "any number": ANY_NUMBER,
    "a square number": SQUARE,
    "an even square number": EVEN_SQUARE,
    "(grid / s)²": NEIGHBOURHOODS,
}
ROWS = dict(re.findall(r"^\| `(\w+)` \| ([^|`]+) \| [^|]+ \| [^|]+ \|", CONNECTOR_PAGE, re.MULTILINE))
"""The kinds that the page describes, with the numbers of tokens that they make."""


def named_in(text: str, before: str) -> set[str]:
    """The names in the parentheses behind some words."""
    (names,) = re.findall(re.escape(before) + r"\s+\(([^)]+)\)", text)
    return set(re.findall(r"`(\w+)`", names))


def test_the_numbers_of_tokens_are_those_that_are_offered() -> None:
    assert {"linear", "average_pool", "perceiver", "lm_adapter"} <= ROWS.keys()
    assert {kind: WORDS[words] for kind, words in ROWS.items()} == {kind: CONNECTORS[kind].tokens for kind in ROWS}


def test_an_even_square_is_what_the_page_says() -> None:
    (numbers,) = re.findall(r"Of 12 × 12 patches that are ([\d, and]+) tokens", CONNECTOR_PAGE)
    offered = [number for number in range(1, 145) if not list(EVEN_SQUARE.findings("average_pool", number, 12))]
    assert [int(number) for number in re.findall(r"\d+", numbers)] == offered


def test_the_connectors_of_several_aspect_ratios_and_sizes_are_named() -> None:
    masked = named_in(IMAGE_PAGE, "`native` needs a connector that can leave patches out")
    assert masked == {kind for kind in ROWS if CONNECTORS[kind].takes_mask}
    sized = named_in(IMAGE_PAGE, "connectors that are the same on any grid")
    assert sized == {kind for kind in ROWS if CONNECTORS[kind].any_grid}
