from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.analysis import SavedSweep, Table, make_table
from harness.plan import Plan
from harness.store import Store
from tests.synthetic import make_plan, record, write_sweep

MakeTable = Callable[[Plan], Table]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make_plan(write_sweep(tmp_path))


@pytest.fixture
def plan_of(tmp_path: Path) -> Callable[..., Plan]:
    return lambda *overrides, **changes: make_plan(write_sweep(tmp_path, **changes), overrides)


@pytest.fixture
def table_of(store: Store) -> MakeTable:
    return lambda plan: make_table(SavedSweep.of(record(plan)), store)
