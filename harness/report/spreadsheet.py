"""A table as CSV: numbers as numbers, and no text that a spreadsheet would take for a formula."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

from harness.analysis.tables.table import MEAN, Table
from harness.report.sheet import NOTHING_BESIDE, Beside

_FORMULA = re.compile(r"^\s*[=+\-@\t\r\n|%]")
_MEANS = ("raw", "macro", "normalised", "iqm")
_DIFFERENCE = ("mean", "low", "high", "p", "p_adjusted", "verdict", "seeds_to_decide")


def csv_text(table: Table, beside: Beside = NOTHING_BESIDE) -> str:
    """One line a variant, then imported models and published rows; ``kind`` tells them apart."""
    sweep = table.sweep
    keys = (*sweep.tasks, MEAN)
    head: list[str] = [*sweep.factors, "baseline", "status", "seeds"]
    for key in keys:
        head += [key, f"{key}_low", f"{key}_high", f"{key}_n", f"{key}_blind"]
        head += [f"{key}_difference{'' if part == 'mean' else f'_{part}'}" for part in _DIFFERENCE]
    head += ["parameters", "trainable", "visual_tokens", "train_flops", "train_seconds", "core_seconds"]
    head += [f"mean_{kind}" for kind in _MEANS]
    head += ["detail", "kind", "name", "source", "shots"]
    lines: list[list[Any]] = [head]
    for row in table.rows:
        content = row.to_json()
        levels = [row.variant.levels.get(factor, "") for factor in sweep.factors]
        means = content["means"] or {}
        lines.append(
            [
                *levels,
                *(row.variant.is_baseline, row.status, len(row.seeds)),
                *_scores(content, keys),
                *(row.parameters, row.trainable, row.visual_tokens),
                *(content["train_flops"], content["train_seconds"], content["core_seconds"]),
                *(means.get(kind) for kind in _MEANS),
                *(row.detail, "variant", row.variant.name, "", ""),
            ]
        )
    names, costs = [""] * len(sweep.factors), [""] * (6 + len(_MEANS))
    for model in beside.imported:
        scores = _scores(model.to_json(), keys)
        lines.append([*names, False, "complete", "", *scores, *costs, "", "imported", model.name, "", ""])
    for published in beside.published:
        printed = [[_number(published.values.get(key, ""))] + [""] * (4 + len(_DIFFERENCE)) for key in keys]
        source = f"{published.paper} {published.table} ({published.source})"
        values = [value for each in printed for value in each]
        shots = published.protocol
        lines.append([*names, "", "", "", *values, *costs, "", "published", published.variant, source, shots])
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([_safe(value) for value in line] for line in lines)
    return buffer.getvalue()


def _scores(content: dict[str, Any], keys: tuple[str, ...]) -> list[Any]:
    values: list[Any] = []
    for key in keys:
        score, difference = content["scores"][key], content["difference"][key]
        values += [score["mean"], score["low"], score["high"], score["n"], score["blind"]]
        values += [difference[part] for part in _DIFFERENCE]
    return values


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if _FORMULA.match(value) else value
    return "" if value is None else value
