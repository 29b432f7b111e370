"""What a sweep's answers cost, in words."""

from __future__ import annotations

from harness.analysis.tables.price import Price, price_of
from harness.analysis.tables.table import Table
from harness.report.quantities import count, duration


def price_lines(table: Table) -> list[str]:
    """One line for what was decided at which price, one for what a core-hour shows, one for how to do better."""
    price = price_of(table)
    return [*_price(price, table.sweep.primary), *_better(price)] if price else []


def _price(price: Price, primary: str) -> list[str]:
    decided = f"{price.decided} of {count(price.contrasts, 'difference')} to the baseline decided"
    each = f", {duration(price.per_decided)} each" if price.per_decided is not None else ""
    lines = [
        f"{decided} in {duration(price.total)} of core time (all trainings and evaluations){each};"
        f" a run takes {duration(price.run)}."
    ]
    if price.hour_effect is not None:
        lines.append(
            f"One core-hour pays {price.hour_seeds} seeds of two variants and shows differences of {primary} from"
            f" {price.hour_effect:.1f} points on."
        )
    elif price.hour_seeds < 2:
        lines.append("One core-hour does not pay two seeds of two variants, so it shows nothing of another training.")
    return lines


def _better(price: Price) -> list[str]:
    if price.question_share is None or price.questions is None or price.saving is None:
        return []
    share = f"{100 * price.question_share:.0f} % of the noise of a difference comes from the questions"
    if price.saving < 0.05:
        return [f"{share}; their number is about right."]
    few = "more" if price.questions > 1 else "fewer"
    times = price.questions if price.questions > 1 else 1 / price.questions
    return [
        f"{share}; {times:.1f} times {few} questions with as many trainings as then decide the same would cost"
        f" {100 * price.saving:.0f} % less."
    ]
