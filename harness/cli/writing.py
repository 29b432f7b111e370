"""What ``--out FILE`` asks for."""

from __future__ import annotations

from pathlib import Path

from harness.errors import HarnessError


def write_out(out: Path, text: str) -> None:
    """Writes a file and prints where it lies, and which folder was made for it: a mistyped path is seen at once.

    Raises ``HarnessError`` when it cannot be written.
    """
    from harness.store import write_bytes

    missing = [folder for folder in out.parents if not folder.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(out, text.encode())
    except OSError as error:
        raise HarnessError(f"{out} cannot be written: {error.strerror}", "Name another file with --out.") from error
    print(f"{out} (in the new folder {missing[-1]})" if missing else out)
