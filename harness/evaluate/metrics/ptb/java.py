"""Stanford's own tokeniser, for who has Java: used when asked for, and to check the Python one.

The program and pycocoevalcap's wrapper around it start a Java machine a call and write beside the installed package;
here all captions go through one process and a temporary folder.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.evaluate.metrics.ptb.tokenizer import DROPPED, LINE_ENDS

VERSION = "ptb-3.4.1-java-1"
"""Names this way of calling the program in records."""

_JAR = "stanford-corenlp-3.4.1.jar"
# What a caption's last word becomes can depend on how the next line begins ("plan B." before "The"), so every caption
# is followed by a line that begins with nothing special. This is what makes a caption's tokens its own.
_SEPARATOR = "z"


def find_java() -> str | None:
    """Path of the ``java`` command, or None."""
    return shutil.which("java")


def _jar() -> Path:
    import pycocoevalcap.tokenizer

    for folder in pycocoevalcap.tokenizer.__path__:
        if (Path(folder) / _JAR).is_file():
            return Path(folder) / _JAR
    raise HarnessError(
        f"The installed pycocoevalcap has no {_JAR}.",
        remedy="Reinstall it (pip install --force-reinstall pycocoevalcap), or use the tokeniser in Python.",
    )


def java_ptb_tokenize(texts: Sequence[str]) -> list[list[str]]:
    """Tokens of every caption, as :func:`ptb_tokenize` gives them, from one run of the Java program.

    HarnessError when there is no Java or the program fails. Line breaks inside a caption count as spaces.
    """
    java = find_java()
    if java is None:
        raise HarnessError(
            "The Java tokeniser was asked for and there is no `java` on this machine.",
            remedy="Install a Java runtime (8 or later), or use the tokeniser in Python, which gives the same tokens.",
        )
    if not texts:
        return []
    lines = "".join(f"{text.translate(LINE_ENDS)}\n{_SEPARATOR}\n" for text in texts)
    with tempfile.TemporaryDirectory() as folder:
        captions = Path(folder) / "captions.txt"
        captions.write_bytes(lines.encode("utf-8", "surrogatepass"))
        command = [java, "-cp", str(_jar()), "edu.stanford.nlp.process.PTBTokenizer"]
        run = subprocess.run(
            [*command, "-preserveLines", "-lowerCase", str(captions)],
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    tokenized = run.stdout.split("\n")[:-1]
    if run.returncode or tokenized[1::2] != [_SEPARATOR] * len(texts):
        raise HarnessError(
            f"The Java tokeniser failed (exit code {run.returncode}): {run.stderr.strip()[-500:]}",
            remedy="Use the tokeniser in Python, which gives the same tokens.",
        )
    return [[token for token in line.rstrip().split(" ") if token and token not in DROPPED] for line in tokenized[::2]]
