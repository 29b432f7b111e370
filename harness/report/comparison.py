"""A comparison of two for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from harness.analysis.tables.comparison import Compared, Comparison, Example
from harness.report import cells
from harness.report.layout import width
from harness.report.markup import plain
from harness.report.terminal import DECIDED


def render(comparison: Comparison) -> RenderableType:
    """The differences with their verdicts, the parts of benchmarks, the samples that differ most, notes."""
    first, second = (plain(label) for label in comparison.labels)
    seeds = ["1 model" if count == 1 else f"{count} seeds" for count in comparison.seeds]
    head = Text(f"A  {first} ({seeds[0]})\nB  {second} ({seeds[1]})\n")
    parts: list[RenderableType] = [head, _differences([*comparison.benchmarks, *comparison.parts])]
    parts.append(
        Text(
            f"\nB − A in points with {100 * comparison.rules.confidence:g} % intervals. {DECIDED}: better or worse;"
            f" {cells.EQUIVALENT}: equivalent, within ±{comparison.rules.min_effect:g} points; wins: samples on which B"
            " scores higher. Each line is a test of its own, not corrected for other pairs that were looked at.",
            style="dim",
        )
    )
    if comparison.examples:
        parts += [Text("\nSamples that differ most (points: answer)", style="bold"), _examples(comparison.examples)]
    parts += [Text(""), *(Text(plain(note), style="dim") for note in comparison.notes)]
    return Group(*parts)


def _differences(compared: Sequence[Compared]) -> Grid:
    grid = Grid(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    grid.add_column("", overflow="fold", min_width=8)
    for head in ("A", "B", "B − A", "p"):
        grid.add_column(head, justify="right", no_wrap=True)
    verdicts = [cells.verdict(each.difference) for each in compared]
    grid.add_column("verdict", overflow="fold", min_width=max(12, *map(width, verdicts)))
    grid.add_column("wins/losses/ties", justify="right", overflow="fold", min_width=11)
    for each in compared:
        found = each.difference
        name = cells.title(each.key) + (f", {each.subset}" if each.subset else "")
        style = "bold" if cells.is_decided(found) else ""
        counts = cells.NOTHING if each.wins is None else f"{each.wins}/{each.losses}/{each.ties}"
        change = Text(DECIDED * cells.is_decided(found) + cells.change(found), style=style)
        p = cells.NOTHING if found.p is None else f"{found.p:.3f}" if found.p >= 0.0005 else "<0.001"
        values = (Text(cells.points(value)) for value in each.means)
        grid.add_row(Text(plain(name)), *values, change, p, cells.verdict(found), counts)
    return grid


def _examples(examples: Sequence[Example]) -> Grid:
    grid = Grid(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for head in ("sample", "A", "B"):
        grid.add_column(head, overflow="fold", ratio=None if head == "sample" else 1)
    for example in examples:
        grid.add_row(
            Text(plain(f"{cells.title(example.task)} {example.sample_id}")),
            *(_answered(points, said) for points, said in zip(example.points, example.answers, strict=True)),
        )
    return grid


def _answered(points: float, answers: Sequence[str]) -> Text:
    """The different answers of the seeds, in order."""
    said = " / ".join(plain(answer) or "(nothing)" for answer in dict.fromkeys(answers))
    return Text(f"{cells.points(points)}: {said}")
