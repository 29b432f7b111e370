"""Any text as LaTeX that compiles with pdflatex and prints what it says: ASCII only, nothing left that is a command."""

from __future__ import annotations

import unicodedata

# Where the usual escapes need an encoding of fonts (\textquotedbl, \textasciigrave), the character's number does not.
# Brackets and the star are braced, because \\ at the end of a row would take them for its argument.
_ASCII = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",
    "`": r"\symbol{96}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
}
_SIGNS = {
    "±": r"$\pm$",
    "−": "$-$",
    "Δ": r"$\Delta$",
    "≈": r"$\approx$",
    "·": r"$\cdot$",
    "→": r"$\rightarrow$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "’": "'",
    "‘": r"\symbol{96}",
    "“": r"\symbol{34}",
    "”": r"\symbol{34}",
    "µ": r"$\mu$",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
}
_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi . pi rho . sigma tau upsilon phi chi psi"
    " omega"
)
_SIGNS |= {chr(0x3B1 + n): f"$\\{name}$" for n, name in enumerate(_GREEK.split()) if name != "."}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}


def escaped(text: str) -> str:
    """The text on one line. What pdflatex has no letter for is written as its number, ``[U+4E2D]``."""
    return "".join(_letter(letter) for letter in unicodedata.normalize("NFC", " ".join(text.split())))


def _letter(letter: str) -> str:
    if letter in _ASCII:
        return _ASCII[letter]
    if letter in _SIGNS:
        return _SIGNS[letter]
    if letter.isascii() and letter.isprintable():
        return letter
    base, *marks = list(unicodedata.normalize("NFD", letter))
    if base.isascii() and base.isalpha() and len(marks) == 1 and marks[0] in _ACCENTS:
        return f"\\{_ACCENTS[marks[0]]}{{{base}}}"
    return f"{{[}}U+{ord(letter):04X}{{]}}"
