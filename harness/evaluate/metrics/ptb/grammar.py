"""The rules of the tokeniser, in order of precedence among equally long matches.

A rule may name what has to follow; that counts towards the length of the match but is left for the next token.
Patterns see characters by kind (``characters.py``), so ``[A-Za-zé]`` is every letter. What a token is written as is
the business of ``rewrite``; ``None`` as the written form drops the token.

The rules describe what the Java program does, oddities included, as read off its output on millions of strings; its
source was not consulted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from harness.evaluate.metrics.ptb import lexicon
from harness.evaluate.metrics.ptb.characters import DIGIT, LETTER, MARK


def _as_is(text: str) -> str | None:
    return text


@dataclass(frozen=True)
class Rule:
    """``pattern`` makes a token when ``followed_by`` (empty: anything) comes next."""

    name: str
    pattern: str
    followed_by: str = ""
    rewrite: Callable[[str], str | None] = _as_is


# --- Written forms ----------------------------------------------------------------------------------------------------

_BRACKETS = str.maketrans(
    {"(": "-LRB-", ")": "-RRB-", "[": "-LSB-", "]": "-RSB-", "{": "-LCB-", "}": "-RCB-"},
)
_ROUND_BRACKETS = str.maketrans({"(": "-LRB-", ")": "-RRB-"})
_NO_BREAK_SPACES = str.maketrans(" ", "\xa0")  # a token may hold a space: "1 1/2", "555 123 4567"
_QUOTES = str.maketrans(
    {"‘": "`", "‛": "`", "\x91": "`", "‹": "`", "’": "'", "\x92": "'", "›": "'"}
    | {"“": "``", "«": "``", "\x93": "``", "”": "''", "»": "''", "\x94": "''"},
)

_FRACTION_SIGNS = {"¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"}


def _always(written: str | None) -> Callable[[str], str | None]:
    return lambda text: written


def _spaces_kept(text: str) -> str:
    return text.translate(_NO_BREAK_SPACES)


def _round_brackets_named(text: str) -> str:
    return text.translate(_ROUND_BRACKETS)


def _telephone(text: str) -> str:
    return _round_brackets_named(_spaces_kept(text))


def _without_soft_hyphens(text: str) -> str:
    return text.replace("\xad", "") or "-"


def _plain_apostrophe(text: str) -> str:
    return text.translate(_QUOTES).replace("&apos;", "'")  # but &APOS; stays


def _plain_ampersand(text: str) -> str:
    return re.sub("&amp;", "&", text, flags=re.IGNORECASE)


def _dashes(text: str) -> str:
    return "--" if 3 <= len(text) <= 4 else text


# --- Pieces of patterns -----------------------------------------------------------------------------------------------


def _any_of(words: str) -> str:
    return "(?i:" + "|".join(words.split()) + ")"


def _any_of_capitalised(words: str) -> str:
    return "(" + "|".join(f"{word[0]}(?i:{word[1:]})" if word[1:] else word for word in words.split()) + ")"


_SPACES = " \t\xa0\u2000-\u200a\u3000"
_SPACE_OR_END = f"[{_SPACES}\n]"
_SOFT = "\xad"
_ALPHA = f"A-Za-z{LETTER}"
_DIGITS = f"0-9{DIGIT}"
_ALPHANUMERIC = f"[{_ALPHA}{_DIGITS}]"
_ASCII_ALPHANUMERIC = "[A-Za-z0-9]"
_ACCENTED = "&(?i:[aeiou](acute|grave|uml));"  # &eacute;
_WORD_START = f"([{_ALPHA}{MARK}{_SOFT}]|{_ACCENTED})"
_WORD_PART = f"([{_ALPHA}{MARK}{_SOFT}{_DIGITS}]|{_ACCENTED})"

_APOSTROPHE = "('|’|\x92|(?i:&apos;))"
_APOSTROPHE_OR_QUOTE = "(['’\x92`‘‛\x91]|(?i:&apos;))"
_WORD = f"{_WORD_START}{_WORD_PART}*([.!?]{_WORD_START}{_WORD_PART}*)*"  # no space, no cut: "sidewalk.outside"
_CLITIC_LETTERS = "([dmsDMS]|(?i:ll|re|ve))"
_CLITIC = f"{_APOSTROPHE}{_CLITIC_LETTERS}"  # he'd, I'm, it's, we'll
_NEGATION = f"[Nn]{_APOSTROPHE_OR_QUOTE}[Tt]"  # do|n't
_NUMBER = f"([{_DIGITS}]+|[{_DIGITS}]*([.:,{_SOFT}\u066b\u066c][{_DIGITS}]+)+)"
_INITIALS = r"[A-Za-z](\.[A-Za-z])*\."  # J., U.S., a.m.
_SEVERAL_INITIALS = r"[A-Za-z](\.[A-Za-z])+\."
_CLOSING_ABBREVIATION = (
    f"({_any_of(lexicon.CLOSING)}|{_any_of_capitalised(lexicon.CLOSING_CAPITALISED)}"
    r"|(?i:ph\.d)|[Pp]?[Pp][Tt][ey][Ss]?)\."
)
_CLIPPED_NAME = f"[DLOdlo]{_APOSTROPHE_OR_QUOTE}{_ALPHANUMERIC}{{2}}{_ALPHANUMERIC}*"  # O'Brien, d'Arc
_HYPHENS = r"[\-_֊‐‑]"
_LINKED = f"{_HYPHENS}({_CLIPPED_NAME}|{_ALPHANUMERIC}+)"
_COMPOUND = f"({_CLIPPED_NAME}|{_ALPHANUMERIC}+{_LINKED})({_LINKED})*"  # T-shirt, snake_case, five-o'clock
_POINTED_COMPOUND = (  # 10,000-ton, anti-U.S.
    rf"{_ASCII_ALPHANUMERIC}[A-Za-z0-9.,{_SOFT}]*(-({_SEVERAL_INITIALS}|[A-Za-z0-9{_SOFT}]+))+"
)
_AMPERSANDED = "[A-Z]+(([&+]|(?i:&amp;))[A-Z]+)+"  # AT&T

_NAME = r"[A-Za-z][A-Za-z0-9_:.\-]*"
_TAG = (
    rf"<([!?][A-Za-z\-][^>\r\n]*|/{_NAME}"
    rf"|{_NAME}( +({_NAME}|{_NAME} *= *('[^'\r\n]*'|\"[^\"\r\n]*\")))* */?) *>"
).replace(r"\r\n", "\r\n")

_NOT_IN_ADDRESS = ' \t\n\f\r"<>|(){}'
_NOT_AT_END_OF_ADDRESS = _NOT_IN_ADDRESS + r".!?,\-"
_NOT_IN_EMAIL = ' \t\n\f\r"<>|(){}\xa0'

_TELEPHONE = (
    r"(\([0-9]{2,3}\)[ \xa0]?|(\+\+?)?([0-9]{2,4}[\- \xa0])?[0-9]{2,4}[\- \xa0])[0-9]{3,4}[\- \xa0]?[0-9]{3,5}"
    r"|((\+\+?)?[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5}"
).replace(r"\xa0", "\xa0")

_APOSTROPHE_WORDS = "|".join(
    (
        f"{_APOSTROPHE}[Nn]{_APOSTROPHE}?",  # rock 'n' roll
        f"[DJLdjl]{_APOSTROPHE}",  # l' before a word that is cut off
        f"(?i:ol|somethin|dunkin){_APOSTROPHE}",
        f"{_APOSTROPHE}(?i:em|till?|cause|[2-9]0s)",
        f"[A-HJ-XZn]{_APOSTROPHE_OR_QUOTE}[{_ALPHA}]{{2}}[{_ALPHA}]*",  # D'Angelo
        f"[{_ALPHA}]+[aeiouyAEIOUY]{_APOSTROPHE_OR_QUOTE}[aeiouA-Z][{_ALPHA}]*",  # Hawai'i
        f"[Oo]{_APOSTROPHE_OR_QUOTE}[Oo]",
        r"(?i:cont'd\.?|nor'easter|c'mon|e'er|s'mores|ev'ry|li'l|nat'l)",
    )
)


def _fused() -> Iterable[Rule]:
    for first, second in lexicon.FUSED:
        yield Rule(f"{first}|{second}", f"(?i:{first})", f"(?i:{second})")


# --- The rules --------------------------------------------------------------------------------------------------------

RULES: tuple[Rule, ...] = (
    *_fused(),
    Rule("'tis, 'twas", "'[Tt]", "(?i:is|was)"),
    Rule("markup tag", _TAG, rewrite=_spaces_kept),
    Rule("dash", "(?i:&(mdash|ndash);)|[\x96\x97–—―]", rewrite=_always("--")),
    Rule("ampersand", "(?i:&amp;)", rewrite=_always("&")),
    Rule("entity that stays", "&((?i:HT|TL|UR|LR|QC|QL|QR|odq|cdq)|#[0-9]+);"),
    Rule("word before a clitic", _WORD, _CLITIC, _without_soft_hyphens),
    Rule("word before n't", "[A-Za-z]*[A-MO-Za-mo-z]", _NEGATION),
    Rule("word", _WORD, rewrite=_without_soft_hyphens),
    Rule("word with an apostrophe", _APOSTROPHE_WORDS),
    Rule("y'", f"[Yy]{_APOSTROPHE}", f"[{_ALPHA}]"),
    Rule("address", f"(?i:https?)://[^{_NOT_IN_ADDRESS}]+[^{_NOT_AT_END_OF_ADDRESS}]"),
    Rule(
        "address without scheme",
        # The range from , to _ inside the second class is the program's own: no digits, capitals or dashes there.
        f"((?i:www)\\.([^{_NOT_IN_ADDRESS}.!?,]+\\.)+[A-Za-z]{{2,4}}"
        f"|([^{_NOT_IN_ADDRESS}`'!$,-_]+\\.)+{_any_of(lexicon.TOP_LEVEL_DOMAINS)})"
        f'(/[^ \t\n\f\r"<>|()]+[^{_NOT_AT_END_OF_ADDRESS}])?',
    ),
    Rule(
        "mail address",
        f"((?i:&lt;)|<)?[A-Za-z0-9][^{_NOT_IN_EMAIL}]*@([^{_NOT_IN_EMAIL}.]+\\.)*[^{_NOT_IN_EMAIL}.]+((?i:&gt;)|>)?",
    ),
    Rule("user", "@[A-Za-z_][A-Za-z_0-9]*"),
    Rule("topic", f"#{_WORD_START}+"),
    Rule("clitic before no letter", _CLITIC, "[^A-Za-z]", _plain_apostrophe),
    Rule("clitic", f"(’|\x92|(?i:&apos;)){_CLITIC_LETTERS}", rewrite=_plain_apostrophe),
    Rule("n't", _NEGATION, "[^A-Za-z]", _plain_apostrophe),
    Rule("date", rf"[{_DIGITS}]{{1,2}}[\-/][{_DIGITS}]{{1,2}}[\-/][{_DIGITS}]{{2,4}}"),
    Rule("number", rf"[\-+]?{_NUMBER}", rewrite=_without_soft_hyphens),
    Rule("raised or lowered number", "[⁺⁻₊₋]?([⁰¹²³⁴-⁹]+|[₀-₉]+)"),
    Rule(
        "fraction",
        f"([{_DIGITS}]{{1,4}}[\\- \xa0])?[{_DIGITS}]{{1,4}}(\\\\?/|⁄)[{_DIGITS}]{{1,4}}",
        rewrite=_spaces_kept,
    ),
    *(Rule("one sign for a fraction", sign, rewrite=_always(text)) for sign, text in _FRACTION_SIGNS.items()),
    Rule("name of a bracket", f"-({_any_of(lexicon.BRACKET_NAMES)})-"),
    Rule("one of a kind", r"(?i:C\.D\.s|pro-|anti-|S(&|&amp;)P-500|S(&|&amp;)Ls|Cap'n|c'est)"),
    Rule("'99", "['’\x92][0-9]{2}", _SPACE_OR_END),
    Rule("compound", _COMPOUND),
    Rule("closing abbreviation", _CLOSING_ABBREVIATION, "[^\x00][^\x00]"),
    Rule("compound with points", _POINTED_COMPOUND, rewrite=_without_soft_hyphens),
    Rule(
        "words with a stroke",
        rf"{_ASCII_ALPHANUMERIC}+(-[A-Za-z]+){{0,2}}(\\?/{_ASCII_ALPHANUMERIC}+(-[A-Za-z]+){{0,2}}){{1,2}}",
    ),
    Rule("number with letters", f"[{_DIGITS}]+[{_ALPHA}]{_ALPHANUMERIC}*"),
    Rule("dollar", r"[A-Z]*\$|#"),
    Rule("other currency", "[¤₠€\x80]", rewrite=_always("$")),
    Rule("pound", "£", rewrite=_always("#")),
    Rule("cent", "¢", rewrite=_always("cents")),
    Rule("title", f"({_any_of(lexicon.TITLES)}|[Mm][ft][Gg])\\."),
    Rule("initials", _INITIALS),
    Rule(
        "last letter of a sentence",
        "[A-Za-z]",
        rf"\.{_SPACE_OR_END}+({_TAG}|M[Rr]\.|M[Ss]\.|{_any_of_capitalised(lexicon.SENTENCE_OPENERS)}){_SPACE_OR_END}",
    ),
    Rule(
        "file",
        rf"{_WORD_PART}+(\.{_WORD_PART}+)*\.{_any_of(lexicon.FILE_ENDINGS)}",
        "[ \t\xa0\n.?!,]",
    ),
    Rule("abbreviation before a number", f"{_any_of(lexicon.NUMBERED)}\\.", f"{_SPACE_OR_END}?[{_DIGITS}]"),
    Rule(
        "full stop before another mark",
        rf"({_WORD}|{_WORD_PART}+|{_COMPOUND}|{_POINTED_COMPOUND}|{_AMPERSANDED})\.",
        "[,;:、]",
        lambda text: _plain_ampersand(_without_soft_hyphens(text)),
    ),
    Rule("telephone", _TELEPHONE, rewrite=_telephone),
    Rule("letters with an ampersand", _AMPERSANDED, rewrite=_plain_ampersand),
    Rule("programming language", r"[Cc]\+\+|[CFcf]#"),
    Rule("smiley", r"[<>]?[:;=][\-o*']?[()DPdpO\\{@|\[\]]", "[^A-Za-z0-9]", _round_brackets_named),
    Rule(
        "upright smiley",
        r"\([\-\^x=~<>'][_.\-]?[\-\^x=~<>']\)|[\-\^x=~<>']_[\-\^x=~<>']"
        r"|[\^x=~<>]\.\[\^x=~<>\]",  # the last one is taken at its word: x.[^x=~<>]
        rewrite=_round_brackets_named,
    ),
    Rule("doubled angle", "<<|>>"),
    Rule("opening quote", "'", "[A-Za-z][^ \t\n\r\xa0]", _always("`")),
    Rule("quote", "'{1,2}"),
    Rule("bracket", r"[<>()\[\]{}]", rewrite=lambda text: text.translate(_BRACKETS)),
    Rule("less than", "(?i:&lt;)", rewrite=_always("<")),
    Rule("greater than", "(?i:&gt;)", rewrite=_always(">")),
    Rule("hyphens", r"\-+", rewrite=_dashes),
    Rule("ellipsis", "\\.{3,5}|(\\.[ \xa0]){2,4}\\.|[\x85…]", rewrite=_always("...")),
    Rule("marks at the end", "[?!]+"),
    Rule("mark", "[.,;:、]"),
    Rule("at signs", "@+|#+|_+"),
    Rule("asterisks", r"\*+|(\\\*){1,3}"),
    Rule("double quote", '"|&quot;', rewrite=_always("''")),
    Rule("apostrophe by name", "&apos;", rewrite=_always("'")),
    Rule("other entities", "(?i:&(quot|apos);)"),
    Rule("typographic quotes", "[`‘-‟\x91-\x94‹›«»]{1,2}", rewrite=lambda text: text.translate(_QUOTES)),
    Rule("space by name", "(?i:&nbsp;)", rewrite=_always(None)),
    Rule("sign", r"[=/+%&~\^|\\©⁄⁺⁻₊₋]"),
    Rule("space", f"{_SPACE_OR_END}+", rewrite=_always(None)),
)
