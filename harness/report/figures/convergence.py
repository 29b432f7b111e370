"""The training loss against steps and against FLOPs: whether variants had converged, and at what price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis.samples.values import Points
from harness.analysis.stored.convergence import Curve, smoothed, training_curves
from harness.analysis.tables.table import Row, Table
from harness.report.figures.labels import name
from harness.report.figures.style import GREY, PALE, SMALL, drawing, empty, heading, legend, looks, named, plain, settle
from harness.report.quantities import quantity
from harness.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TOLD_APART = 10
"""Lines that an eye can follow; of more variants only a few are coloured."""

_SMOOTHING = 25  # the window is the longest phase's steps divided by this
_SHOWN_SHARE = 0.02  # of the steps at the beginning, whose losses are far above all others, do not set the scale


def convergence(table: Table, store: Store) -> Figure:
    """Thick: the mean over seeds; thin: the seeds; a cross: a run that diverged, where it did.

    Of many variants the baseline, the lowest and the highest final loss are coloured, the others are grey.
    """
    curves = training_curves(table.sweep, store)
    window = _window(curves)
    by_variant = {row.variant.name: [c for c in curves if c.variant == row.variant.name] for row in table.rows}
    with drawing():
        figure = empty(9.6, 4.4)
        axes: Sequence[Axes] = figure.subplots(1, 2, sharey=True)
        chosen = _chosen(table, by_variant)
        for row in reversed(table.rows):  # the baseline on top
            for panel, against in zip(axes, ("steps", "flops"), strict=True):
                _draw(panel, by_variant[row.variant.name], against, window, chosen.get(row.variant.name), row, table)
        _finish(axes, curves, window)
        handles, labels = axes[0].get_legend_handles_labels()
        order = sorted(range(len(labels)), key=lambda n: list(chosen).index(_variant(handles[n])))
        legend(figure, [handles[n] for n in order], [labels[n] for n in order])
        heading(figure, table.sweep.question or table.sweep.name, _caption(table, by_variant, window, len(chosen)))
        settle(figure)
    return figure


def _chosen(table: Table, by_variant: Mapping[str, Sequence[Curve]]) -> dict[str, dict[str, Any]]:
    """The looks of the variants that are coloured."""
    drawn = [row.variant.name for row in table.rows if by_variant[row.variant.name]]
    if len(drawn) > TOLD_APART:
        whole = {variant: [c for c in by_variant[variant] if c.status == "complete"] for variant in drawn}
        ranked = sorted((v for v in drawn if whole[v]), key=lambda variant: _final(whole[variant]))
        drawn = list(dict.fromkeys([*(v for v in drawn if v == table.sweep.baseline.name), *ranked[:1], *ranked[-1:]]))
    return {variant: looks(number) for number, variant in enumerate(drawn)}


def _final(curves: Sequence[Curve]) -> float:
    """The mean loss of the last tenth."""
    tails = [curve.loss[-max(1, len(curve.loss) // 10) :] for curve in curves]
    return float(np.cumsum(np.concatenate(tails))[-1]) / sum(len(tail) for tail in tails)


def _window(curves: Sequence[Curve]) -> int:
    phases = [
        end - start
        for c in curves
        for start, end in zip([0, *(e for _, e in c.ends)], [e for _, e in c.ends], strict=False)
    ]
    return max(1, max(phases, default=0) // _SMOOTHING)


def _draw(
    panel: Axes,
    curves: Sequence[Curve],
    against: str,
    window: int,
    look: Mapping[str, Any] | None,
    row: Row,
    table: Table,
) -> None:
    whole = [curve for curve in curves if curve.status == "complete"]
    same = len({len(curve.loss) for curve in whole}) == 1
    colour, level = (look["color"], 3) if look else (PALE, 1)
    for curve in curves:
        if not look and same and curve in whole:
            continue  # of a grey variant the mean is enough
        across, up = _across(curve, against), smoothed(curve, window)
        alone = not (same and curve in whole)
        _by_phase(
            panel,
            curve,
            across,
            up,
            color=colour,
            linewidth=1.1 if alone else 0.6,
            alpha=0.9 if alone else 0.45,
            zorder=level,
        )
        if curve.status == "diverged":
            panel.plot(across[-1:], up[-1:], marker="x", color=colour, markersize=7, markeredgewidth=2, zorder=level)
    if same:
        across = np.cumsum([_across(c, against) for c in whole], axis=0)[-1] / len(whole)
        up = np.cumsum([smoothed(c, window) for c in whole], axis=0)[-1] / len(whole)
        line = {"linestyle": look["linestyle"]} if look else {}
        _by_phase(panel, whole[0], across, up, color=colour, linewidth=1.7 if look else 1.0, zorder=level + 0.5, **line)
    if look and curves and against == "steps":
        panel.plot(
            [],
            [],
            color=colour,
            linestyle=look["linestyle"],
            linewidth=1.7,
            label=plain(name(row, table)),
            gid=row.variant.name,
        )


def _variant(handle: Any) -> str:
    return str(handle.get_gid())


def _by_phase(panel: Axes, curve: Curve, across: Points, up: Points, **style: Any) -> None:
    """A line that breaks where a phase ends: the loss of another phase is another quantity."""
    ends = [end for _, end in curve.ends]
    for start, end in zip([0, *ends], ends, strict=False):
        panel.plot(across[start:end], up[start:end], **style)


def _across(curve: Curve, against: str) -> Points:
    return np.arange(1.0, len(curve.loss) + 1.0) if against == "steps" else curve.flops


def _finish(axes: Sequence[Axes], curves: Sequence[Curve], window: int) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    steps, flops = axes
    steps.set_xlabel("optimiser steps")
    flops.set_xlabel("training FLOPs")
    steps.set_ylabel("training loss (nats a token)")
    flops.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantity(value)))
    if not curves:
        for panel in axes:
            panel.text(0.5, 0.5, "no training has ended yet", transform=panel.transAxes, ha="center", color=GREY)
            panel.set_xticks([])
            panel.set_yticks([])
        return
    lines = [smoothed(curve, window) for curve in curves]
    shown = np.concatenate([line[int(len(line) * _SHOWN_SHARE) :] for line in lines])
    if shown.min() > 0:
        steps.set_yscale("log")
        steps.set_ylim(shown.min() / 1.06, shown.max() * 1.12)
        steps.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
        steps.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        steps.yaxis.set_minor_formatter(NullFormatter())
    if len({curve.ends for curve in curves if curve.status == "complete"}) == 1:
        ends = next(curve.ends for curve in curves if curve.status == "complete")
        for (phase, end), start in zip(ends, [0, *(end for _, end in ends)], strict=False):
            if start:
                steps.axvline(start, color=GREY, linewidth=0.8, linestyle=(0, (2, 2)))
            steps.text(
                (start + end) / 2,
                0.99,
                plain(phase),
                transform=steps.get_xaxis_transform(),
                ha="center",
                va="top",
                fontsize=SMALL,
                color=GREY,
            )


def _caption(table: Table, by_variant: Mapping[str, Sequence[Curve]], window: int, coloured: int) -> str:
    several = any(len(found) > 1 for found in by_variant.values())
    text = f"moving mean over {window} steps" if window > 1 else "every step"
    text += "; thick: mean over seeds, thin: each seed" if several else ""
    drawn = [variant for variant, found in by_variant.items() if found]
    if coloured < len(drawn):
        text += f"; grey: {len(drawn) - coloured} other variants; coloured: baseline, lowest and highest final loss"
    names = {row.variant.name: name(row, table) for row in table.rows}
    for status in ("diverged", "unfinished"):
        found = [
            f"{names[variant]} seed {curve.seed}"
            for variant, curves in by_variant.items()
            for curve in curves
            if curve.status == status
        ]
        text += f"; {status}: {named(found, 4)}" if found else ""
    nothing = [names[variant] for variant, found in by_variant.items() if not found]
    return text + (f"; nothing recorded: {named(nothing, 4)}" if nothing else "")
