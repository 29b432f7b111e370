"""VQA accuracy with the official normalisation, in its named variants (VQAv2, TextVQA, OK-VQA).

Definitions and the quirks that are kept: the evaluation code of VQA (Antol et al. 2015, before and since its change of
2021-03) and the M4C processor of TextVQA (Singh et al. 2019).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from harness.errors import HarnessError

VARIANTS = ("vqa-always", "vqa-2021", "vqa-2015", "textvqa-m4c")

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_NUMBER_COMMA = re.compile(r"(\d)(,)(\d)")
_PERIOD = re.compile(r"(?!<=\d)(\.)(?!\d)")  # the official pattern; its look-behind is mistyped and never fires
_M4C_COMMA = re.compile(r"(?<=\d)(,)+(?=\d)")
_MAX_PERIODS = 32  # the official code hands re.UNICODE (32) over as the count
_ARTICLES = {"a", "an", "the"}
_NUMBERS = {
    word: str(value)
    for value, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"none": "0"}
_CONTRACTED = (
    "ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've "
    "he's how'd how'll how's I'd've I'm I've isn't it'd it'd've it'll let's ma'am mightn't mightn't've might've mustn't "
    "must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd "
    "somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've "
    "something'll that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't "
    "we'd've we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's "
    "who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll "
    "you're you've"
).split()


def _contractions() -> dict[str, str]:
    table = {}
    for word in _CONTRACTED:
        parts = word.split("'")
        table["".join(parts)] = word
        # With several apostrophes the official table also knows the forms that lack one of them.
        marks = [index for index, character in enumerate(word) if character == "'"]
        if len(marks) > 1:
            for mark in marks:
                table[word[:mark] + word[mark + 1 :]] = word
    return table


_TABLE = _contractions()


def _strip_punctuation(text: str) -> str:
    stripped = text
    number_comma = _NUMBER_COMMA.search(text) is not None
    for mark in _MARKS:
        if f"{mark} " in text or f" {mark}" in text or number_comma:
            stripped = stripped.replace(mark, "")
        else:
            stripped = stripped.replace(mark, " ")
    return _PERIOD.sub("", stripped, count=_MAX_PERIODS)


def _normalise_words(text: str) -> str:
    words = [_NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(_TABLE.get(word, word) for word in words if word not in _ARTICLES)


@lru_cache(maxsize=1 << 18)
def _cleaned(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


@lru_cache(maxsize=1 << 18)
def _punctuated(text: str) -> str:
    return _strip_punctuation(_cleaned(text))


@lru_cache(maxsize=1 << 18)
def _normalised(text: str) -> str:
    return _normalise_words(_punctuated(text))


@lru_cache(maxsize=1 << 18)
def _m4c(text: str) -> str:
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = text.replace("\n", " ").replace("\t", " ").strip()
    stripped = text
    number_comma = _M4C_COMMA.search(text) is not None
    for mark in _MARKS:
        if f"{mark} " in text or f" {mark}" in text or number_comma:
            stripped = stripped.replace(mark, "")
        else:
            stripped = stripped.replace(mark, " ")
    return _normalise_words(_PERIOD.sub("", stripped, count=_MAX_PERIODS))


def _agreement(matches: int, answers: int) -> float:
    """Mean over the left-out annotators of min(1, matches among the others / 3)."""
    hit = matches * min(1.0, (matches - 1) / 3) if matches else 0.0
    miss = (answers - matches) * min(1.0, matches / 3)
    return (hit + miss) / answers


def vqa_accuracy(prediction: str, answers: Sequence[str], variant: str = "vqa-always") -> float:
    """Accuracy in 0..1 of a prediction against the answers of the annotators (ten in the official files).

    ``vqa-always`` normalises both sides always (what most harnesses do); ``vqa-2021`` and ``vqa-2015`` are the official
    program since and before 2021-03; ``textvqa-m4c`` is the TextVQA processor. Raises HarnessError for another variant or no
    answers.
    """
    if not answers:
        raise HarnessError("a question without answers cannot be scored", remedy="check the annotation file")
    if variant == "vqa-always":
        said, truth = _normalised(prediction), [_normalised(answer) for answer in answers]
    elif variant == "textvqa-m4c":
        said, truth = _m4c(prediction), [_m4c(answer) for answer in answers]
    elif variant == "vqa-2021":
        said, truth = _cleaned(prediction), [_cleaned(answer) for answer in answers]
        if len(set(truth)) > 1:
            said, truth = _normalised(prediction), [_normalised(answer) for answer in answers]
    elif variant == "vqa-2015":
        said, truth = _normalised(prediction), list(answers)
        if len(set(truth)) > 1:
            truth = [_punctuated(answer) for answer in answers]
    else:
        raise HarnessError(f"there is no VQA accuracy called {variant!r}", remedy=f"use one of {', '.join(VARIANTS)}")
    return _agreement(sum(answer == said for answer in truth), len(truth))
