"""A table with everything that is judged from it, as one JSON document."""

from __future__ import annotations

from typing import Any

from harness.analysis.claims.results import claim_results
from harness.analysis.statistics.differences import interval_json
from harness.analysis.tables.contrasts import control_result
from harness.analysis.tables.effects import effects
from harness.analysis.tables.price import price_of
from harness.analysis.tables.table import Table


def to_json(table: Table, bootstrap: bool = False) -> dict[str, Any]:
    """JSON values, stable keys: the rows, contrasts, claims, effects and price of a sweep.

    ``bootstrap``: every difference of a row also says what the bootstrap makes of it.
    """
    sweep = table.sweep
    control, price = control_result(table), price_of(table)
    return {
        "name": sweep.name,
        "question": sweep.question,
        "digest": sweep.digest,
        "factors": {name: list(levels) for name, levels in sweep.factors.items()},
        "tasks": list(sweep.tasks),
        "seeds": list(sweep.seeds),
        "primary": sweep.primary,
        "min_effect": sweep.min_effect,
        "confidence": sweep.confidence,
        "complete": table.is_complete,
        "correction": sweep.correction,
        "rows": _rows(table, bootstrap),
        "price": price.to_json() if price else None,
        "power": {key: found.to_json() for key, found in table.power.items()},
        "claims": [claim.to_json() for claim in claim_results(table)],
        "positive_control": control.to_json() if control else None,
        "effects": effects(table).to_json(),
        "notes": list(table.notes),
    }


def _rows(table: Table, bootstrap: bool) -> list[dict[str, Any]]:
    rows = [row.to_json() for row in table.rows]
    if bootstrap:
        from harness.analysis.tables.bootstrap import bootstraps

        found = bootstraps(table)
        for row in rows:
            for key, difference in row["difference"].items():
                difference["bootstrap"] = found.get(row["name"], {}).get(key, interval_json(None))
    return rows
