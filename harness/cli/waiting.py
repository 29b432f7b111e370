"""What is said while workers on other machines are watched for a sign of life."""

from __future__ import annotations

import sys

from harness.report.quantities import count, duration


def say_waiting(number: int, seconds: float) -> None:
    """Says on stderr of how many, and for how long at most."""
    words = f"looking whether {count(number, 'worker')} elsewhere still {'live' if number > 1 else 'lives'}"
    print(f"{words}, for {duration(seconds)} at most", file=sys.stderr, flush=True)
