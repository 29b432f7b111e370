"""How all figures look, and how they are written: the same figure gives the same bytes."""

from __future__ import annotations

import io
import textwrap
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.store import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito (2008): told apart by people with any colour vision; markers and dashes differ too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
GREY = "#777777"
PALE = "#bdbdbd"
SMALL = 7.5
DPI = 160
NORMAL = 9

_CHARACTERS_AN_INCH = 15.0  # of the normal size
_STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters everywhere
    "font.size": NORMAL,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.unicode_minus": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "harness",
}


@contextmanager
def drawing() -> Iterator[None]:
    """The surroundings in which figures are made and written, whatever a user has set."""
    import matplotlib

    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a letter of any script may be in a name
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def empty(width: float, height: float) -> Figure:
    """A figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def settle(figure: Figure) -> None:
    """Lays the figure out for good; to be done last, or before anything is placed by where panels are.

    The solver's last digits differ from one time to the next, and with them the ids in an SVG file: they are cut.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for panel in figure.axes:
        left, bottom, width, height = (round(value, 5) for value in panel.get_position().bounds)
        panel.set_position((left, bottom, width, height))


def plain(text: str) -> str:
    """Text that is drawn as it is: no formulas (``$``), nothing hidden from legends (a leading ``_``)."""
    kept = visible(text).replace("$", r"\$")
    return f"\u200a{kept}" if kept.startswith("_") else kept


def visible(text: str) -> str:
    """Text without control characters and other marks that turn or hide what follows; line breaks stay."""
    return "".join(c if c == "\n" or unicodedata.category(c)[0] not in "CZ" else " " for c in text)


def wrapped(text: str, width: int) -> str:
    """Text in lines of at most ``width`` letters, for a name of any length."""
    lines = textwrap.wrap(" ".join(visible(text).split()), width, break_long_words=True, break_on_hyphens=False)
    return plain("\n".join(lines))


def wrapped_list(text: str, width: int) -> str:
    """As ``wrapped``, but what stands between commas is kept together where it fits in a line."""
    lines: list[str] = []
    for part in text.split(", "):
        if lines and len(lines[-1]) + 2 + len(part) <= width:
            lines[-1] += f", {part}"
        else:
            lines = [*(f"{line}," if line is lines[-1] else line for line in lines), part]
    return "\n".join(wrapped(line, width) for line in lines)


def looks(number: int) -> dict[str, Any]:
    """Colour, marker and dashes of the line with this number; no two of the first 28 look alike."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": DASHES[number % len(DASHES)],
    }


def heading(figure: Figure, title: str, caption: str) -> None:
    """The title, and below it what the marks mean, wrapped to the width of the figure."""
    letters = int(figure.get_size_inches()[0] * _CHARACTERS_AN_INCH)
    figure.suptitle(f"{wrapped(title, int(letters * 0.9))}\n{wrapped(caption, letters)}", fontsize=NORMAL)


def legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str], width: int = 40) -> None:
    """Below the panels, in as many columns as there is room for; the figure grows by what it needs."""
    if not handles:
        return
    texts = [wrapped(label, width) for label in labels]
    longest = max(len(line) for text in texts for line in text.split("\n")) + 7
    letters = figure.get_size_inches()[0] * _CHARACTERS_AN_INCH
    columns = min(len(handles), max(1, int(letters / longest)))
    lines = sum(text.count("\n") + 1 for text in texts) / columns
    figure.set_figheight(figure.get_figheight() + 0.15 * max(0.0, lines - 1.0))
    figure.legend(list(handles), texts, loc="outside lower center", ncols=columns, fontsize=SMALL + 0.5)


def named(names: Sequence[str], most: int = 6) -> str:
    """``a, b and 3 more``."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def image(figure: Figure, kind: str, dpi: int = DPI) -> bytes:
    """The figure as ``svg`` or ``png``; the bytes depend on the figure alone, not on the day."""
    metadata = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}[kind]
    buffer = io.BytesIO()
    with drawing():
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def save(figure: Figure, path: Path) -> list[Path]:
    """Writes the figure as ``path`` with ``.svg`` and with ``.png`` added."""
    written = [path.with_name(f"{path.name}.{kind}") for kind in ("svg", "png")]
    for target in written:
        write_bytes(target, image(figure, target.suffix[1:]))
    return written
