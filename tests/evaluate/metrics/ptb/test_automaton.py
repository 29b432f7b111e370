from __future__ import annotations

import re

import pytest

from harness.evaluate.metrics.ptb.automaton import Automaton


@pytest.mark.parametrize(
    ("pattern", "text", "length"),
    [
        ("a|ab|abc", "abcd", 3),  # the longest alternative, where re takes the first
        ("(a|ab)(c|bcd)", "abcd", 4),
        ("a*", "aaab", 3),
        ("a+b?", "aab", 3),
        ("a{2}", "aaa", 2),
        ("a{2,3}", "aaaa", 3),
        ("(ab){0,2}c", "ababc", 5),
        ("(ab|c{2})+x", "abccabx", 7),
        ("[a-c]+", "abcd", 3),
        ("[^a-c]+", "xyza", 3),
        ("[^]{2}", "\n\0x", 2),
        (r"[\-\]\^]+", "-]^x", 3),
        (r"\.\*", ".*.", 2),
        ("(?i:ab)c", "aBc", 3),
        ("(?i:a(b|[cd]))", "AD", 2),
        ("é+", "ééa", 2),
    ],
)
def test_longest_match(pattern: str, text: str, length: int) -> None:
    assert Automaton([pattern]).longest(text, 0) == (0, length)
    assert Automaton([pattern]).longest("??" + text, 2) == (0, length + 2)


@pytest.mark.parametrize(("pattern", "text"), [("a", "b"), ("ab", "a"), ("a{2}", "a"), ("(?i:ab)c", "aBC"), ("a+", "")])
def test_no_match(pattern: str, text: str) -> None:
    assert Automaton([pattern]).longest(text, 0) == (-1, 0)


def test_length_wins_then_order() -> None:
    automaton = Automaton(["a", "ab", "[ab]{2}", "abc"])
    assert automaton.longest("ax", 0) == (0, 1)
    assert automaton.longest("abx", 0) == (1, 2)
    assert automaton.longest("bax", 0) == (2, 2)
    assert automaton.longest("abc", 0) == (3, 3)


def test_ends_are_all_places_a_match_can_stop() -> None:
    assert Automaton(["a(bc)*"]).ends("xabcbcb", 1, 7) == [2, 4, 6]
    assert Automaton(["a(bc)*"]).ends("xabcbcb", 1, 5) == [2, 4]
    assert Automaton(["a"]).ends("b", 0, 1) == []


@pytest.mark.parametrize("pattern", ["(a|b)*abb", "a(b|c){1,3}d?", "[ab]+c?[^c]", "(a?b){2}|c+", "((a|b)c|ab){0,3}"])
def test_matches_what_re_matches_in_full(pattern: str) -> None:
    automaton = Automaton([pattern])
    texts = [""]
    for _ in range(6):
        texts += [text + letter for text in texts if len(text) == len(texts[-1]) for letter in "abcd"]
    for text in texts:
        ends = automaton.ends(text, 0, len(text))
        assert ends == [end for end in range(1, len(text) + 1) if re.fullmatch(pattern, text[:end])], text


@pytest.mark.parametrize("pattern", ["(a", "a)", "[a", "a{2", "(?i:a", "a\\"])
def test_patterns_that_cannot_be_read(pattern: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Automaton([pattern])
