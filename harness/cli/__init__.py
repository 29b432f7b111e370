"""The command line: the only room that prints or reads arguments."""

from harness.cli.entry import main

__all__ = ["main"]
