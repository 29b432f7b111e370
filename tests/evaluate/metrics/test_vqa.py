from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.evaluate.metrics import vqa as module
from harness.evaluate.metrics import vqa_accuracy
from harness.evaluate.metrics.vqa import VARIANTS
from harness.evaluate.metrics.vqa_words import CONTRACTIONS, NUMBERS

from .vqa_cases import CAPITAL_CONTRACTIONS, RULES, Case, cases, digest

GOLDEN = json.loads(Path(__file__).with_name("vqa_golden.json").read_text())
LEVELS = dict(zip("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", GOLDEN["levels"], strict=False))


@pytest.fixture(scope="module")
def generated() -> list[Case]:
    return cases()


def test_generated_cases_are_those_the_programs_scored(generated: list[Case]) -> None:
    assert digest(generated) == GOLDEN["cases"]


@pytest.mark.parametrize("variant", GOLDEN["scores"])
def test_agrees_with_the_official_program(variant: str, generated: list[Case]) -> None:
    wrong = []
    for case, code in zip(generated, GOLDEN["scores"][variant], strict=True):
        if code == "-":
            with pytest.raises(HarnessError, match="exactly 10"):
                vqa_accuracy(case.prediction, case.answers, variant)
        elif abs(vqa_accuracy(case.prediction, case.answers, variant) - LEVELS[code]) > 1e-9:
            wrong.append((case, LEVELS[code]))
    assert not wrong, f"{len(wrong)} of {len(generated)}, first: {wrong[0]}"


def test_generated_cases_can_tell_the_versions_and_the_rules_apart(generated: list[Case]) -> None:
    scores = GOLDEN["scores"]
    for one, other in (("vqa-always", "vqa-2021"), ("vqa-2021", "vqa-2015"), ("vqa-always", "textvqa-m4c")):
        assert sum(a != b != "-" for a, b in zip(scores[one], scores[other], strict=True)) >= 100, (one, other)
    for rule in RULES:
        seen = Counter(
            LEVELS[code]
            for case, code in zip(generated, scores["vqa-always"], strict=True)
            if case.rule == rule and len(case.answers) == 10
        )
        assert all(seen[level] >= 20 for level in (0.0, 0.3, 0.6, 0.9, 1.0)), (rule, seen)
    texts = {text for case in generated for text in (case.prediction, *case.answers)}
    assert sum(text.count(".") > 32 for text in texts) >= 100
    assert sum(len(set(case.answers)) == 1 for case in generated) >= 300
    assert sum(len(case.answers) != 10 for case in generated) >= 300


@pytest.mark.parametrize(("matches", "expected"), list(enumerate((0.0, 0.3, 0.6, 0.9, *[1.0] * 7))))
def test_ten_choose_nine(matches: int, expected: float) -> None:
    answers = ["cat"] * matches + ["dog"] * (10 - matches)
    for variant in VARIANTS:
        assert vqa_accuracy("cat", answers, variant) == expected


@pytest.mark.parametrize(
    ("text", "same_as", "equal"),
    [
        ("The Red  Dog", "red dog", True),
        ("a an the", "", True),
        ("yes.", "yes", True),
        ("3.5", "35", False),
        ("3.", "3", True),  # the look-behind that was meant to keep this point never holds
        ("2 o'clock", "2 oclock", True),
        ("black/white", "black white", True),  # a mark between letters becomes a space
        ("black /white", "blackwhite", False),
        ("black / white", "black white", True),
        ("- x-y", "xy", True),  # ... but is deleted everywhere once one stands next to a space
        ("1,000-2", "10002", True),  # ... and every mark once a number has a comma
        ("a,b", "b", True),
        ("rock-n-roll\n", "rock n\troll", True),
        ("cant", "can't", True),
        ("Cant", "can't", True),
        ("im", "i'm", False),  # entries with capitals never match
        ("let's", "lets", False),
        ("somebody'd", "somebodyd", True),
        ("none", "0", True),
        ("ten", "10", True),
        ("eleven", "11", False),
        ("5:30", "530", False),
    ],
)
def test_rules_of_normalisation(text: str, same_as: str, equal: bool) -> None:
    assert vqa_accuracy(text, [same_as] * 10) == (1.0 if equal else 0.0)


def test_at_most_32_points_are_removed() -> None:
    assert vqa_accuracy("x" + "." * 32, ["x"] * 10) == 1.0
    assert vqa_accuracy("x" + "." * 33, ["x"] * 10) == 0.0
    assert module._normalized("x" + "." * 40) == "x" + "." * 8


def test_unanimous_answers_decide_whether_the_official_program_normalises() -> None:
    unanimous, split = ["yes"] * 10, ["yes"] * 9 + ["no"]
    assert [vqa_accuracy("Yes.", unanimous, v) for v in ("vqa-always", "vqa-2021", "vqa-2015")] == [1.0, 0.0, 1.0]
    assert [vqa_accuracy("Yes.", split, v) for v in ("vqa-always", "vqa-2021", "vqa-2015")] == [1.0, 1.0, 1.0]
    # Before 2021 answers kept their capitals and articles, and their points when they agreed.
    assert [vqa_accuracy("the Cat", ["The Cat"] * 9 + ["x"], v) for v in ("vqa-2021", "vqa-2015")] == [1.0, 0.0]
    assert [vqa_accuracy("yes", ["yes."] * 10, v) for v in ("vqa-always", "vqa-2015")] == [1.0, 0.0]


def test_textvqa_splits_possessives_and_deletes_commas_first() -> None:
    assert vqa_accuracy("mcdonald 's", ["McDonald's"] * 10, "textvqa-m4c") == 1.0
    assert vqa_accuracy("mcdonald 's", ["McDonald's"] * 10, "vqa-always") == 0.0
    assert vqa_accuracy("ab", ["a,b"] * 10, "textvqa-m4c") == 1.0
    assert vqa_accuracy("ab", ["a,b"] * 10, "vqa-always") == 0.0


def test_tables_hold_only_entries_that_can_match() -> None:
    assert all(word == word.lower() and form != word for word, form in CONTRACTIONS.items())
    assert not set(CAPITAL_CONTRACTIONS) & set(CONTRACTIONS)
    assert len(CONTRACTIONS) == 114
    assert NUMBERS["none"] == NUMBERS["zero"] == "0"


def test_unknown_version_lists_the_known_ones() -> None:
    with pytest.raises(HarnessError) as caught:
        vqa_accuracy("yes", ["yes"] * 10, "vqa-2020")
    assert "vqa-2020" in str(caught.value)
    assert all(name in str(caught.value) for name in VARIANTS)


@pytest.mark.parametrize("answers", [[], "yes"])
def test_answers_that_are_no_list_of_answers(answers: list[str]) -> None:
    with pytest.raises(HarnessError, match="answers"):
        vqa_accuracy("yes", answers)


def test_normalisation_is_remembered() -> None:
    module._normalized.cache_clear()
    for _ in range(50):
        vqa_accuracy("a dog", ["a dog", "the cat"])
    assert module._normalized.cache_info().misses == 2


def test_half_a_million_answers_in_seconds(generated: list[Case]) -> None:
    started = time.process_time()
    for _ in range(5):
        for case in generated:
            vqa_accuracy(case.prediction, case.answers)
    assert time.process_time() - started < 10
