"""Numbers as people read them."""

from __future__ import annotations

_UNITS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def quantity(value: float | None, digits: int = 3) -> str:
    """``2120576`` → ``2.12 M``; ``None`` → ``–``."""
    if value is None:
        return "–"
    value = float(f"{value:.{digits - 1}e}")  # rounded first: 999,999 is 1.00 M
    for size, unit in _UNITS:
        if abs(value) >= size:
            scaled = value / size
            return f"{scaled:.{max(0, digits - len(str(int(abs(scaled)))))}f} {unit}"
    return f"{value:g}"


def duration(seconds: float | None) -> str:
    """``75`` → ``1 min 15 s``; ``None`` → ``–``."""
    if seconds is None:
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(whole / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(whole / 3600)
    return f"{hours // 24} d {hours % 24:02d} h"


def count(number: int, noun: str, plural: str = "") -> str:
    """``1, "stage"`` → ``1 stage``; ``2`` → ``2 stages``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
