"""Captions into the tokens that caption metrics count."""

from __future__ import annotations

import re
from functools import lru_cache

from harness.evaluate.metrics.ptb.automaton import Automaton
from harness.evaluate.metrics.ptb.characters import LETTER, kinds_of_characters
from harness.evaluate.metrics.ptb.grammar import RULES
from harness.evaluate.metrics.ptb.lexicon import FUSED

VERSION = "ptb-3.4.1-python-1"
"""Names this implementation in records; raised by hand when a change can alter a token."""

DROPPED = frozenset(
    {"''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"}
)
"""What caption evaluation leaves out. Brackets arrive in lower case and therefore stay ("-lrb-"), as always."""

LINE_ENDS = str.maketrans(dict.fromkeys("\n\r\x0b\x0c\u2028\u2029", " "))


# Most of a caption is plain words. No rule but the fused ones cuts a word of letters alone that a space follows, so
# those need not go through the automaton. A caption takes a third of the time.
_PLAIN_WORD = re.compile(f"([A-Za-z{LETTER}]+)(?: +|(?=\n))")
_FUSED = frozenset(first + second for first, second in FUSED)


class _Lexer:
    """``RULES`` compiled: one automaton over all, and one a side for those rules that name what has to follow."""

    def __init__(self) -> None:
        self._all = Automaton([f"({rule.pattern}){rule.followed_by and f'({rule.followed_by})'}" for rule in RULES])
        self._sides = {
            index: (Automaton([rule.pattern]), Automaton([rule.followed_by]))
            for index, rule in enumerate(RULES)
            if rule.followed_by
        }

    def _token_end(self, index: int, kinds: str, start: int, end: int) -> int:
        """Where the token ends inside a match that includes what follows it."""
        if index not in self._sides:
            return end
        token, following = self._sides[index]
        return max(cut for cut in token.ends(kinds, start, end) if end in following.ends(kinds, cut, end))

    def tokens(self, line: str) -> list[str]:
        """All tokens of one line, punctuation included, in the case they were written in."""
        kinds = kinds_of_characters(line) + "\n\n"
        found: list[str] = []
        position = 0
        while position < len(line):
            plain = _PLAIN_WORD.match(kinds, position)
            if plain is not None:
                word = line[position : plain.end(1)]
                if word.lower() not in _FUSED:
                    found.append(word)
                    position = plain.end()
                    continue
            index, end = self._all.longest(kinds, position)
            if index < 0:  # no rule knows the character
                position += 1
                continue
            end = self._token_end(index, kinds, position, end)
            written = RULES[index].rewrite(line[position:end])
            if written is not None:
                found.append(written)
            position = end
        return found


@lru_cache(maxsize=1)
def _lexer() -> _Lexer:
    return _Lexer()


def _lower(token: str) -> str:
    """Lower case as Java has it: a sigma is final unless a letter with case follows, also behind a hyphen or digit."""
    if "Σ" not in token:
        return token.lower()
    cased = [place for place, character in enumerate(token) if character.lower() != character.upper()]
    final = cased[-1] if len(cased) > 1 and token[cased[-1]] == "Σ" else -1
    return "".join("ς" if place == final else character.lower() for place, character in enumerate(token))


@lru_cache(maxsize=1 << 16)
def _tokenize(text: str) -> tuple[str, ...]:
    tokens = [_lower(token) for token in _lexer().tokens(text.translate(LINE_ENDS))]
    if tokens:  # the line is stripped before it is split, so a space inside the last token can go
        tokens[-1] = tokens[-1].rstrip()
    return tuple(token for token in tokens if token and token not in DROPPED)


def ptb_tokenize(text: str) -> list[str]:
    """Tokens of one caption as caption evaluation sees them: Penn Treebank cuts, lower case, no punctuation.

    Joined by spaces they equal what Stanford's PTBTokenizer 3.4.1 (``-preserveLines -lowerCase``) and the drop list
    of pycocoevalcap make of the caption on a line of its own; ``docs/ptb_exceptions.md`` lists where not. Line breaks
    inside the caption count as spaces. A token can hold a no-break space ("1 1/2"). Results are remembered.
    """
    return list(_tokenize(text))
