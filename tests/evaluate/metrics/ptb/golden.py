"""Writes ``golden.json``: strings, and what the Java program makes of them. Run with Java, when the strings change:

python -m tests.evaluate.metrics.ptb.golden
"""

from __future__ import annotations

import json
from pathlib import Path

from harness.evaluate.metrics.ptb.java import java_ptb_tokenize

from .strings import KINDS, generated

FILE = Path(__file__).with_name("golden.json")
NUM_GENERATED = 2500


def strings() -> list[str]:
    """Every hard piece on its own and at the end of a sentence, and generated strings."""
    pieces = dict.fromkeys(piece for kind in KINDS.values() for piece in kind)
    return [*pieces, *(f"a {piece}." for piece in pieces), *generated(NUM_GENERATED)]


def main() -> None:
    texts = strings()
    rows = (json.dumps([text, " ".join(tokens)]) for text, tokens in zip(texts, java_ptb_tokenize(texts), strict=True))
    about = "Strings, and their tokens by PTBTokenizer 3.4.1 -preserveLines -lowerCase and pycocoevalcap's drop list."
    FILE.write_text(f'{{"about": {json.dumps(about)},\n"rows": [\n' + ",\n".join(rows) + "\n]}\n")


if __name__ == "__main__":
    main()
