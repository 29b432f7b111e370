"""From ``sys.argv`` to an exit code; nothing that happens in between ends in a traceback.

Exit codes: 0 complete, 1 error, 2 bad spec or usage, 3 incomplete (some runs have no result yet).
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence

from harness.errors import HarnessError

ERROR, USAGE, INCOMPLETE = 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `harness plan … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(arguments: list[str]) -> int:
    from harness.cli import app

    debug = "--debug" in arguments
    try:
        return app.run(arguments)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        if debug:
            raise
        return error.exit_code
    except KeyboardInterrupt:
        command = shlex.join(["harness", *arguments])
        print(f"\ninterrupted; nothing finished is lost, go on with: {command}", file=sys.stderr)
        return INCOMPLETE
    except BrokenPipeError:
        raise
    except Exception as error:
        if hasattr(error, "exit_code") and hasattr(error, "show"):  # click's, wherever this version of typer keeps it
            error.show()
            return int(error.exit_code)
        if debug:
            raise
        print(f"error: {_first_line(error)}\n  → {_where_the_log_is(arguments)}", file=sys.stderr)
        return ERROR


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])


def _where_the_log_is(arguments: Sequence[str]) -> str:
    """Keeps the traceback of an error that nobody foresaw, and says where."""
    import time
    import traceback

    from harness.plan.cache import cache_folder

    path = cache_folder() / "errors" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"harness {shlex.join(arguments)}\n\n{traceback.format_exc()}", encoding="utf-8")
    except OSError:
        return "This should not happen; give the command again with --debug to see where it did."
    return f"This should not happen; please report it with the log {path}"
