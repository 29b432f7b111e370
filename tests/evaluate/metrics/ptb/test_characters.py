from __future__ import annotations

import pytest

from harness.evaluate.metrics.ptb.characters import (
    DIGIT,
    DIGITS,
    ITSELF,
    LETTER,
    LETTERS,
    MARK,
    MARKS,
    SYMBOL,
    SYMBOLS,
    UNKNOWN,
    kinds_of_characters,
)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("plain ASCII ~", "plain ASCII ~"),
        ("éñЖ日ªǅ", LETTER * 6),
        ("\u0301\u0591˂", MARK * 3),
        ("٣९５", DIGIT * 3),
        ("®★→¥¡", SYMBOL * 5),
        ("😀𝐀\u200b\ue000₿\x01".replace("\x01", ""), UNKNOWN * 5),
        ("a‘–½\u00a0…é", f"a‘–½\u00a0…{LETTER}"),
    ],
)
def test_kinds(text: str, kinds: str) -> None:
    assert kinds_of_characters(text) == kinds


def test_every_character_has_one_kind() -> None:
    claimed: set[int] = set(map(ord, ITSELF))
    for ranges in (LETTERS, MARKS, DIGITS, SYMBOLS):
        for entry in ranges.split():
            first, _, last = entry.partition("-")
            points = set(range(int(first, 16), int(last or first, 16) + 1))
            assert not points & claimed
            assert min(points) >= 0x80
            claimed |= points


def test_length_is_kept() -> None:
    text = "".join(map(chr, range(0x10000))) + "😀"
    assert len(kinds_of_characters(text)) == len(text)
