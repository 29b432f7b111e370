from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.analysis import SavedSweep, Table, make_table
from harness.plan import Plan
from harness.store import Store
from tests.synthetic import make_plan, record, write_sweep

MakeTable = Callable[[Plan], Table]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture(scope="session")
def plan_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Plan]:
    """The plan of a sweep with changes; each is made once, plans are never changed."""
    made: dict[str, Plan] = {}

    def make(*overrides: str, **changes: Any) -> Plan:
        key = repr((overrides, changes))
        if key not in made:
            made[key] = make_plan(write_sweep(tmp_path_factory.mktemp("sweep"), **changes), overrides)
        return made[key]

    return make


@pytest.fixture
def plan(plan_of: Callable[..., Plan]) -> Plan:
    return plan_of()


@pytest.fixture
def table_of(store: Store) -> MakeTable:
    return lambda plan: make_table(SavedSweep.of(record(plan)), store)
