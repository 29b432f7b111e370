"""The commands and their options, in the order in which ``harness --help`` shows them.

Each body imports what it needs, so that help is there at once.
"""

from harness.cli.commands import sweeps, results, jobs, inputs, machine  # isort: skip  (the order of the help)

__all__ = ["inputs", "jobs", "machine", "results", "sweeps"]
