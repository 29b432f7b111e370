"""Generated questions for VQA accuracy: predictions and answers on which every rule of every version matters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .draw import Draw

SEED = 20210311
NUM_CASES = 10_000
MARKS = ';/[]"{}()=+\\_-><@`,?!'


@dataclass(frozen=True)
class Case:
    rule: str
    prediction: str
    answers: tuple[str, ...]


_WORDS = (
    "red blue dog cat tennis racket man woman street sign bus train yes no kitchen pizza grass left right "
    "wooden table surfboard snow frisbee truck coca cola nike new york stop main st north south 7 eleven exit "
    "zone one way"
)
_NUMBER_WORDS = "none zero one two three four five six seven eight nine ten"
_CONTRACTIONS = (
    "cant can't dont don't isnt wouldntve wouldnt've couldn'tve theyre they're whats what's whered y'all yall "
    "y'allll somebody'd somebodyd somebodyd've oclock o'clock its it's let's lets she's shes shed've twas "
    "'twas 'ow'sat maam"
)
WORDS, NUMBER_WORDS, CONTRACTIONS = _WORDS.split(), _NUMBER_WORDS.split(), _CONTRACTIONS.split()
# Keys of the official table that cannot match, because the text is in lower case when they are looked up.
CAPITAL_CONTRACTIONS = ("Im", "I'm", "im", "Ive", "ive", "I've", "Id've", "id've", "I'dve", "i'dve", "I'd've", "i'd've")


def _phrase(draw: Draw) -> str:
    return " ".join(draw.one(WORDS) for _ in range(1 + draw.below(3)))


def _capitalised(draw: Draw, text: str) -> str:
    return draw.one((text.upper(), text.title(), text.capitalize(), text))


def _marked(draw: Draw, text: str) -> str:
    """A mark somewhere, next to a space or not; the same mark sometimes twice, in different company."""
    mark = draw.one(MARKS)
    for _ in range(1 + draw.below(2)):
        place = draw.below(len(text) + 1)
        text = text[:place] + draw.one((mark, mark, mark + " ", " " + mark, f" {mark} ")) + text[place:]
    return text


def _points(draw: Draw, text: str) -> str:
    place = draw.below(len(text) + 1)
    return text[:place] + draw.one((".", "...", ". ", " .", "2.", "2. ", ".5", "3.5", "1.x", ":", "'")) + text[place:]


def _many_points(draw: Draw, text: str) -> str:
    return text + "." * (30 + draw.below(7)) + draw.one(("", "x", "5", " "))


def _comma_in_number(draw: Draw, text: str) -> str:
    number = draw.one(("1,000", "1000", "1 000", "10,5", "3,,000", "3,000,000", "2, 000", "1,a"))
    return draw.one((f"{number} {text}", f"{text} {number}", f"{number}{draw.one(MARKS)}{text}", number))


def _article(draw: Draw, text: str) -> str:
    article = draw.one(("a", "an", "the", "A", "The", "AN", "thea"))
    return draw.one((f"{article} {text}", f"{text} {article}", f"{article}-{text}", article))


def _number_word(draw: Draw, text: str) -> str:
    place = draw.below(len(NUMBER_WORDS))
    word, digits = NUMBER_WORDS[place], str(max(0, place - 1))
    return draw.one((word, digits, word.upper(), f"{word} {text}", f"{digits} {text}", f"{word}s", f"{word}-{digits}"))


def _contraction(draw: Draw, text: str) -> str:
    word = draw.one(CONTRACTIONS)
    return draw.one((word, f"{word} {text}", _capitalised(draw, word), f"{text} {word}", f"({word})"))


def _capital_contraction(draw: Draw, text: str) -> str:
    return draw.one(CAPITAL_CONTRACTIONS) + draw.one(("", f" {text}"))


def _breaks(draw: Draw, text: str) -> str:
    gap = draw.one(("\n", "\t", "\n\n", " \t ", "  ", "\r", "\n?", "?\n", "-\t"))
    place = draw.below(len(text) + 1)
    return draw.one((text[:place] + gap + text[place:], gap + text, text + gap))


def _possessive(draw: Draw, text: str) -> str:
    return draw.one((f"{text}'s", f"{text} 's", f"{text}s", f"{text}'S", f"{text} 'S", f"{text}'st"))


def _comma_or_question(draw: Draw, text: str) -> str:
    """TextVQA deletes these two before anything else."""
    place = draw.below(len(text) + 1)
    return text[:place] + draw.one((",", "?", "", " ", ",?")) + text[place:]


def _unicode(draw: Draw, text: str) -> str:
    return text + draw.one(("é", "É", " café", "’s", " 5\u00a0m", "\u2009x", "½", " ﬁ", "İ", "ß", " 日本"))


def _plain(draw: Draw, text: str) -> str:
    return text


RULES: dict[str, Callable[[Draw, str], str]] = {
    "plain": _plain,
    "case": _capitalised,
    "mark": _marked,
    "point": _points,
    "many points": _many_points,
    "comma in a number": _comma_in_number,
    "article": _article,
    "number word": _number_word,
    "contraction": _contraction,
    "contraction with a capital": _capital_contraction,
    "line break or tab": _breaks,
    "possessive": _possessive,
    "comma or question mark": _comma_or_question,
    "beyond ASCII": _unicode,
}


def _case(draw: Draw, rule: str) -> Case:
    change = RULES[rule]
    phrase = _phrase(draw)
    # Few forms of one phrase, so that whether two of them are equal after normalisation decides the score.
    forms = [change(draw, phrase) for _ in range(3)]
    if draw.chance(0.5):
        forms.append(phrase)
    if draw.chance(0.3):
        other = draw.one(list(RULES.values()))
        forms.append(other(draw, draw.one(forms)))
    num_answers = 10 if draw.chance(0.95) else 1 + draw.below(14)
    agreeing = draw.one((1, 2, 3, 4, 6, num_answers - 1, num_answers, num_answers))
    unanimous = draw.chance(0.5)
    shared = draw.one(forms)
    others = [change(draw, _phrase(draw)) for _ in range(3)]
    answers = [
        (shared if unanimous else draw.one(forms)) if place < agreeing else draw.one(others)
        for place in range(num_answers)
    ]
    turn = draw.below(num_answers)
    prediction = draw.one(forms) if draw.chance(0.9) else draw.one(others)
    return Case(rule, prediction, tuple(answers[turn:] + answers[:turn]))


def cases() -> list[Case]:
    draw = Draw(SEED)
    rules = list(RULES)
    return [_case(draw, rules[index % len(rules)]) for index in range(NUM_CASES)]


def digest(of: Sequence[Case]) -> str:
    """Says whether golden scores belong to these cases."""
    content = json.dumps([[case.prediction, case.answers] for case in of])
    return hashlib.sha256(content.encode()).hexdigest()
