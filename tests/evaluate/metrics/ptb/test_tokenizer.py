from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from harness.evaluate.metrics.ptb import ptb_tokenize, tokenizer
from harness.evaluate.metrics.ptb.automaton import Automaton
from harness.evaluate.metrics.ptb.grammar import RULES

from .strings import KINDS, generated

GOLDEN: list[tuple[str, str]] = json.loads(Path(__file__).with_name("golden.json").read_text())["rows"]


def test_what_java_made_of_thousands_of_strings() -> None:
    assert len(GOLDEN) > 3000
    wrong = [(text, java, " ".join(ptb_tokenize(text))) for text, java in GOLDEN]
    wrong = [row for row in wrong if row[1] != row[2]]
    assert not wrong, f"{len(wrong)} of {len(GOLDEN)}, first: {wrong[0]}"


def test_strings_of_java_exercise_every_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    fired: set[int] = set()
    original = Automaton.longest

    def longest(self: Automaton, text: str, start: int) -> tuple[int, int]:
        rule, end = original(self, text, start)
        fired.add(rule)
        return rule, end

    monkeypatch.setattr(Automaton, "longest", longest)
    for text, _ in GOLDEN:
        tokenizer._lexer().tokens(text)
    assert {RULES[index].name for index in range(len(RULES))} - {RULES[index].name for index in fired} == set()
    assert -1 in fired  # characters that no rule knows


def test_generated_strings_hold_every_kind() -> None:
    texts = generated(2000)
    for kind, pieces in KINDS.items():
        assert sum(any(piece in text for piece in pieces) for text in texts) > 100, kind
    assert generated(50) == generated(50)
    assert generated(50, seed=1) != generated(50, seed=2)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("A man is riding a horse.", "a man is riding a horse"),
        ('The cat (a tabby) sat; "purring", it seems...', "the cat -lrb- a tabby -rrb- sat purring it seems"),
        ("He doesn't know it's John's.", "he does n't know it 's john 's"),
        ("They cannot, they're gonna", "they can not they 're gon na"),
        ("at 10:14 a.m. in the U.S. for $5.00", "at 10:14 a.m. in the u.s. for $ 5.00"),
        ("Mr. Smith etc. and mass. Mass.", "mr. smith etc. and mass mass."),
        ("No. 5 but no. x", "no. 5 but no x"),
        ("outside.The dog--a big one - ran", "outside.the dog a big one ran"),
        ("1/2 of 50% £3 5¢ ½", "1/2 of 50 % # 3 5 cents 1/2"),
        ("plan B. The end", "plan b the end"),
        ("J. Smith", "j. smith"),
        ("a well-known T-shirt and/or x/y/z", "a well-known t-shirt and/or x/y/z"),
        ("rock 'n' roll in the '90s", "rock 'n' roll in the '90s"),
        ("me@foo.com, www.foo.com. #snow @user :)", "me@foo.com, www.foo.com #snow @user :-rrb-"),
        ("un caf\u00e9 😀 «x» —", "un café x"),
        ("", ""),
        (" . ", ""),
    ],
)
def test_how_captions_are_cut(text: str, tokens: str) -> None:
    assert " ".join(ptb_tokenize(text)) == tokens


def test_a_token_can_hold_a_space() -> None:
    assert ptb_tokenize("about 1 1/2 cups") == ["about", "1\u00a01/2", "cups"]
    assert ptb_tokenize("call 555 123 4567") == ["call", "555\u00a0123\u00a04567"]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r", "\x0b", "\x0c", "\u2028", "\u2029"])
def test_line_breaks_are_spaces(line_end: str) -> None:
    assert ptb_tokenize(f"a dog{line_end}runs.{line_end}") == ["a", "dog", "runs"]


def test_the_same_text_gives_a_new_list() -> None:
    first = ptb_tokenize("a dog")
    first.append("cat")
    assert ptb_tokenize("a dog") == ["a", "dog"]


def test_results_are_remembered() -> None:
    tokenizer._tokenize.cache_clear()
    for _ in range(3):
        ptb_tokenize("a dog runs on the beach")
    assert tokenizer._tokenize.cache_info().misses == 1


@pytest.mark.parametrize(
    "text",
    ["a" * 5000, "<!a " * 500, "a@" * 2000, "http://" * 500, "('" * 1000, "1 " * 2000, "a." * 2000, "\ud800" * 99],
)
def test_no_text_takes_long(text: str) -> None:
    started = time.process_time()
    ptb_tokenize(text)
    assert time.process_time() - started < 5


def test_fifty_thousand_captions_in_seconds() -> None:
    captions = [
        f"A man number {number} isn't riding a {number % 7}-year-old horse, on the beach." for number in range(50_000)
    ]
    started = time.process_time()
    for caption in captions:
        ptb_tokenize(caption)
    assert time.process_time() - started < 15
