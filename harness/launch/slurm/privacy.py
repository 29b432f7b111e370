"""What a job trusts as its user's own: folders that belong to them and that nobody else may enter.

Who may write to a folder may rename what lies in it and put something else in its place, so in a shared results folder
a path says nothing about whose code it leads to.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from harness.errors import HarnessError

DEFINITION = [
    "harness_private() {",
    '  case "$([ -O "$1" ] && stat -c %a "$1")" in *700) return 0 ;; esac',
    '  echo "$(readlink -f "$1") is not private to $(id -un)" >&2',
    "  return 1",
    "}",
]
"""Shell lines that define ``harness_private FOLDER``."""


def condition(folder: Path | None) -> str:
    """The shell command that succeeds where a folder, if there is one to ask about, is private."""
    return f"harness_private {shlex.quote(str(folder))}" if folder is not None else "true"


def require(folder: Path) -> None:
    """Raises ``HarnessError`` unless the folder is private to this user, ``FileNotFoundError`` when it is not there."""
    try:
        found = folder.stat()
        is_private = found.st_uid == os.getuid() and not found.st_mode & 0o077
    except PermissionError:
        is_private = False
    if not is_private:
        raise HarnessError(
            f"{folder} is not private to you: somebody else may have put it there, and jobs would run what lies in it.",
            "Look whose it is (`ls -ld`) and move it away; it is made anew.",
        )
