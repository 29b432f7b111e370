"""Runs a command by its name."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from harness.cli import commands  # noqa: F401  (fills the application)
from harness.cli.application import Interrupted, app


def run(arguments: Sequence[str]) -> int:
    """Runs the command that the arguments name and returns its exit code."""
    command = typer.main.get_command(app)
    try:
        result = command.main(list(arguments), prog_name="harness", standalone_mode=False)
    except Interrupted as interruption:
        raise KeyboardInterrupt from interruption
    return result if isinstance(result, int) else 0
