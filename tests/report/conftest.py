from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.analysis import SavedSweep, Table, make_table
from harness.plan import Plan
from harness.store import Store
from tests.synthetic import TASKS, Scorer, finish_run, make_plan, record, write_sweep

Made = tuple[Table, Store]


def make(
    folder: Path, done: Callable[[int], bool] = lambda n: True, scorer: Scorer | None = None, **changes: Any
) -> Made:
    """A table of which the runs with these numbers are finished."""
    plan: Plan = make_plan(write_sweep(folder, **changes))
    store = Store(folder / "results")
    for number, run in enumerate(plan.runs):
        if done(number):
            finish_run(store, plan, run, scorer, TASKS)
    return make_table(SavedSweep.of(record(plan)), store), store


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def table(finished: Made) -> Table:
    return finished[0]


@pytest.fixture(scope="session")
def partial(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Only the baseline is finished."""
    return make(tmp_path_factory.mktemp("partial"), lambda number: number == 0)[0]
