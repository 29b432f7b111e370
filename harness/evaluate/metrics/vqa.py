"""VQA accuracy in the versions that are in use.

A prediction is right to the degree that people gave it: for each annotator it counts ``min(1, agreeing others / 3)``,
and the score is the mean over annotators (Antol et al. 2015). Published numbers differ in what is done to the two sides
before they are compared, by up to four points on the same predictions; so every version has a name:

===========  ===========================================================================================================
vqa-always   both sides normalised, always: OpenFlamingo, Idefics, VLMEvalKit, lmms-eval since 2025
vqa-2021     the official program since 2021-03 (a013f00): both sides normalised unless all annotators wrote the same
vqa-2015     the official program before: prediction normalised, answers only stripped of punctuation, and not at all
             when all annotators wrote the same
textvqa-m4c  TextVQA's (M4C processor): a first pass over both sides, then as vqa-always; exactly ten answers
okvqa-raw    vqa-always over OK-VQA's answers as written (``raw_answer`` of v1.1, ``answer`` of v1.0)
okvqa-v1.1   vqa-always over OK-VQA's stemmed answers (``answer`` of v1.1); the prediction is not stemmed
===========  ===========================================================================================================

The official program is Python 2; these follow the same text run by Python 3, as every later port does (the difference
is digits outside ASCII).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from harness.errors import HarnessError
from harness.evaluate.metrics.vqa_words import ARTICLES, CONTRACTIONS, NUMBERS

_REMEMBERED = 1 << 17
"""Normalised texts kept: the distinct answers of VQAv2's validation split fit."""

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_BREAKS = str.maketrans("\n\t", "  ")
# The official pattern also means to spare a point after a digit ("2."), but its look-behind is mistyped and never
# holds; and the program passes a flag, re.UNICODE = 32, where the number of replacements belongs.
_POINT = re.compile(r"\.(?!\d)")
_POINTS_REMOVED_AT_MOST = 32
_DIGIT_COMMA_DIGIT = re.compile(r"\d,\d")
_DIGIT_COMMAS_DIGIT = re.compile(r"\d,+\d")


def _without_breaks(text: str) -> str:
    return text.translate(_BREAKS).strip()


def _without_punctuation(text: str, comma_in_number: re.Pattern[str] = _DIGIT_COMMA_DIGIT) -> str:
    """Delete each mark that stands next to a space somewhere, and every mark if a number has a comma; else a space."""
    delete_all = comma_in_number.search(text) is not None
    table = {
        ord(mark): "" if delete_all or f"{mark} " in text or f" {mark}" in text else " "
        for mark in _MARKS
        if mark in text
    }
    return _POINT.sub("", text.translate(table), count=_POINTS_REMOVED_AT_MOST)


def _plain_words(text: str) -> str:
    """Lower case, number words as digits, no articles, contractions with their apostrophe, single spaces."""
    words = (NUMBERS.get(word, word) for word in text.lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


@lru_cache(maxsize=_REMEMBERED)
def _normalized(text: str) -> str:
    return _plain_words(_without_punctuation(_without_breaks(text)))


@lru_cache(maxsize=_REMEMBERED)
def _normalized_m4c(text: str) -> str:
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    return _plain_words(_without_punctuation(_without_breaks(text), _DIGIT_COMMAS_DIGIT))


_punctuation_stripped = lru_cache(maxsize=_REMEMBERED)(_without_punctuation)


def _agreement(matches: int, annotators: int) -> float:
    """Mean over annotators of ``min(1, agreeing others / 3)``; one division, so 0, 0.3, 0.6, 0.9 and 1 are exact."""
    those_who_agree = matches * min(3, matches - 1)
    the_others = (annotators - matches) * min(3, matches)
    return (those_who_agree + the_others) / (3 * annotators)


def _always(prediction: str, answers: Sequence[str]) -> float:
    wanted = _normalized(prediction)
    return _agreement(sum(_normalized(answer) == wanted for answer in answers), len(answers))


def _official_2021(prediction: str, answers: Sequence[str]) -> float:
    plain = [_without_breaks(answer) for answer in answers]
    if len(set(plain)) > 1:
        return _always(prediction, plain)
    return _agreement(plain.count(_without_breaks(prediction)), len(plain))


def _official_2015(prediction: str, answers: Sequence[str]) -> float:
    plain = answers if len(set(answers)) == 1 else [_punctuation_stripped(answer) for answer in answers]
    return _agreement(plain.count(_normalized(prediction)), len(plain))


def _textvqa_m4c(prediction: str, answers: Sequence[str]) -> float:
    if len(answers) != 10:
        raise HarnessError(
            f"textvqa-m4c is defined for exactly 10 answers, this question has {len(answers)}.",
            remedy="Check the annotation file, or use the metric vqa-always, which takes any number of answers.",
        )
    wanted = _normalized_m4c(prediction)
    return _agreement(sum(_normalized_m4c(answer) == wanted for answer in answers), len(answers))


VARIANTS: dict[str, Callable[[str, Sequence[str]], float]] = {
    "vqa-always": _always,
    "vqa-2021": _official_2021,
    "vqa-2015": _official_2015,
    "textvqa-m4c": _textvqa_m4c,
    "okvqa-raw": _always,
    "okvqa-v1.1": _always,
}
"""Name to function; see the table at the top of this file."""


def vqa_accuracy(prediction: str, answers: Sequence[str], variant: str = "vqa-always") -> float:
    """Accuracy of one prediction against the answers of all annotators, 0 to 1 (tables show 100 times that).

    ``answers`` holds one text per annotator, repeats included. HarnessError for an unknown ``variant``, for no answers,
    and for other than ten answers with ``textvqa-m4c``.
    """
    score = VARIANTS.get(variant)
    if score is None:
        raise HarnessError(
            f"There is no VQA accuracy called {variant!r}.",
            remedy=f"Use one of: {', '.join(VARIANTS)}.",
        )
    if isinstance(answers, str) or not answers:
        raise HarnessError(
            "VQA accuracy needs the list of all annotators' answers, and at least one.",
            remedy="Check the annotation file: every question has an `answers` list, ten long in VQAv2 and TextVQA.",
        )
    return score(prediction, answers)
