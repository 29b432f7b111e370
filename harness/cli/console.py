"""Printing with rich, which only some commands need."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console, RenderableType

WIDTH = 120
"""Columns where there is no terminal to ask."""


def console(file: TextIO | None = None) -> Console:
    """A console that neither wraps pipes to 80 columns nor highlights numbers."""
    stream = file or sys.stdout
    return Console(file=stream, width=None if stream.isatty() else WIDTH, highlight=False, soft_wrap=False)


def show(content: RenderableType) -> None:
    """Prints to standard output; lines end where the text does."""
    target = console()
    if target.is_terminal:
        target.print(content)
        return
    with target.capture() as captured:
        target.print(content)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
