"""Ten simulated people who answer each question, and sometimes disagree.

Real annotators mostly agree, are sometimes split between a word and its neighbours, and spell freely; a metric that is
only ever given ten equal strings is never tested. Here the true answer scores 100 % on most questions but not on all:
its mean VQA accuracy is about 96 %. Everything is a pure function of the question and a key that names it.
"""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from harness.data.microworld.language import NUMBERS, Question, with_article
from harness.data.microworld.objects import WorldObject, load_objects
from harness.data.microworld.scene import COLORS, POSITIONS

ANNOTATORS = 10

# How many of the ten give the true answer, in percent of the questions. Four are enough for 100 % accuracy.
_AGREEMENT = ((10, 34), (9, 18), (8, 12), (7, 9), (6, 7), (5, 5), (4, 4), (3, 4), (2, 7))
# OK-VQA asks five people and counts each twice; one of five is 60 %.
_AGREEMENT_OF_FIVE = ((5, 48), (4, 22), (3, 12), (2, 9), (1, 9))
_LOOSE_SPELLING = 0.06  # share of true answers that are written in another way that metrics take for the same

_CONFIDENCE_RIGHT = (("yes", 0.80), ("maybe", 0.15), ("no", 0.05))
_CONFIDENCE_WRONG = (("yes", 0.40), ("maybe", 0.40), ("no", 0.20))

_YES = ("no", "yes it is", "maybe", "i think so", "can't tell", "1")
_NO = ("yes", "not here", "maybe", "can't tell", "not sure", "none")
_COLORS = {
    "blue": ("light blue", "sky blue", "cyan", "azure", "teal"),
    "green": ("light green", "lime", "grass", "olive", "teal"),
    "yellow": ("gold", "light yellow", "lemon", "beige", "cream"),
    "pink": ("rose", "light pink", "salmon", "magenta", "red"),
    "gray": ("grey", "silver", "dark gray", "black", "metal"),
    "white": ("off white", "light", "cream", "blank", "gray"),
    "brown": ("tan", "light brown", "wood", "beige", "orange"),
    "purple": ("violet", "lavender", "lilac", "magenta", "indigo"),
}
_CORNERS = {
    "top left": "upper left",
    "top right": "upper right",
    "bottom left": "lower left",
    "bottom right": "lower right",
}
_SIDES = {"top": "above", "bottom": "below", "left": "left side", "right": "right side", "center": "middle"}
_VAGUE_PLACES = ("corner", "side", "edge", "picture", "background", "ground")
_LOOKALIKES = {"0": "8", "1": "7", "2": "7", "3": "8", "4": "9", "5": "6", "6": "8", "7": "1", "8": "3", "9": "8"}
_UNREADABLE = ("unanswerable", "number", "sign", "unreadable")
_UNKNOWN_FACTS = {
    "kind": ("thing", "object", "toy", "picture", "unknown", "emoji"),
    "place": ("outside", "home", "store", "picture", "nature", "everywhere"),
    "person": ("person", "man", "woman", "everyone", "nobody", "family"),
}


@dataclass(frozen=True)
class Answer:
    """What one person answers: the ``text`` that is scored, the ``raw`` words, and how sure they are (yes, maybe or
    no).
    """

    text: str
    raw: str
    confidence: str


@cache
def _synonyms() -> dict[str, tuple[str, ...]]:
    text = resources.files("harness.data.microworld").joinpath("synonyms.csv").read_text(encoding="utf-8")
    return {row["name"]: tuple(row["synonyms"].split("|")) for row in csv.DictReader(text.splitlines())}


@cache
def _by_name() -> dict[str, WorldObject]:
    return {item.name: item for item in load_objects()}


def _number_alternatives(answer: str) -> list[str]:
    count = int(answer)
    return [str(count + 1), str(max(count - 1, 0)), str(count + 2), "several", "many", "some"]


def _position_alternatives(answer: str) -> list[str]:
    words = answer.split()
    near = [_CORNERS[answer], *words] if answer in _CORNERS else [_SIDES[answer], f"{answer} of picture"]
    return [*near, *_VAGUE_PLACES]


def _sign_alternatives(answer: str, rng: random.Random) -> list[str]:
    place = int(rng.random() * len(answer))
    misread = answer[:place] + _LOOKALIKES.get(answer[place], "") + answer[place + 1 :]
    return [misread, answer[1:], answer[:1] + answer[:0:-1], answer[:-1], *_UNREADABLE]


def _fact_alternatives(question: Question) -> list[str]:
    fact = next(
        name
        for name, opening in (("kind", "what"), ("place", "where"), ("person", "who"))
        if question.type.startswith(opening)
    )
    kinds = {item.kind for item in load_objects() if item.fact(fact) == question.answer}
    plausible = sorted(
        {item.fact(fact) for item in load_objects() if item.taught and item.kind in kinds and fact != "kind"}
    )
    return [*plausible[:3], *_UNKNOWN_FACTS[fact], *plausible[3:]]


def alternatives(question: Question, rng: random.Random) -> list[str]:
    """What people who do not give the true answer say instead, the likelier first; none of it counts as the true
    answer.
    """
    answer = question.answer
    if question.task == "okvqa":
        found = _fact_alternatives(question)
    elif question.task == "textvqa":
        found = _sign_alternatives(answer, rng)
    elif question.answer_type == "number":
        found = _number_alternatives(answer)
    elif question.answer_type == "yes/no":
        found = list(_YES if answer == "yes" else _NO)
    elif answer in COLORS and "color" in question.type:
        found = list(_COLORS[answer])
    elif answer in POSITIONS:
        found = _position_alternatives(answer)
    else:
        item = _by_name()[answer]
        found = [*_synonyms()[answer], item.plural, item.kind]
    return [text for text in dict.fromkeys(found) if text and text != answer]


def _spell(answer: str, rng: random.Random) -> str:
    """The true answer as another person would type it; metrics that normalise take it for the same."""
    if answer.isdigit():
        return NUMBERS[int(answer)] if int(answer) < len(NUMBERS) else answer
    if rng.random() < 0.5:
        return answer.capitalize()
    return with_article(answer) if answer in _by_name() else f"{answer}."


def _draw(rng: random.Random, weighted: Sequence[tuple[str, float]]) -> str:
    mark = rng.random() * sum(weight for _, weight in weighted)
    for text, weight in weighted:
        mark -= weight
        if mark < 0:
            return text
    return weighted[-1][0]


def _agreement(rng: random.Random, table: Sequence[tuple[int, int]]) -> int:
    return int(_draw(rng, [(str(count), share) for count, share in table]))


def _answers(question: Question, rng: random.Random, people: int, table: Sequence[tuple[int, int]]) -> list[str]:
    """One answer a person; no other answer is given more often than the true one, and on a tie the true one comes
    first.
    """
    others = alternatives(question, rng)
    agreed = _agreement(rng, table)
    while people - agreed > agreed * len(others):
        agreed += 1
    given: dict[str, int] = {}
    for _ in range(people - agreed):
        free = [(text, 1 / (rank + 1)) for rank, text in enumerate(others) if given.get(text, 0) < agreed]
        text = _draw(rng, free)
        given[text] = given.get(text, 0) + 1
    answers = [question.answer] * agreed + [text for text, count in given.items() for _ in range(count)]
    answers.sort(key=lambda _: rng.random())
    if max(given.values(), default=0) == agreed:
        first = answers.index(question.answer)
        answers[0], answers[first] = answers[first], answers[0]
    return answers


def annotate(question: Question, key: str) -> tuple[Answer, ...]:
    """The ten answers to a question; ``key`` names the question within its world."""
    rng = random.Random(f"annotators {key} {question.text}")
    doubled = question.task == "okvqa"
    if doubled:
        texts = _answers(question, rng, ANNOTATORS // 2, _AGREEMENT_OF_FIVE)
    else:
        texts = _answers(question, rng, ANNOTATORS, _AGREEMENT)
    # Some spell the true answer otherwise, as long as its plain form stays the most common string.
    counts = Counter(texts)
    agreed = counts.pop(question.answer)
    spare = min(agreed - max(counts.values(), default=0), (agreed + 1) // 2) - 1
    answers = []
    for text in texts:
        right = text == question.answer
        raw = text
        if right and spare > 0 and rng.random() < _LOOSE_SPELLING:
            raw = _spell(text, rng)
            spare -= 1
        confidence = _draw(rng, _CONFIDENCE_RIGHT if right else _CONFIDENCE_WRONG)
        # OK-VQA's scored answers are cleaned words, its raw ones as typed; the other sets score what was typed.
        answers.append(Answer(text if doubled else raw, raw, confidence))
    return tuple(answer for answer in answers for _ in range(2 if doubled else 1))
