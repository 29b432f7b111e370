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


def clear_scores(variant: str, task: str, seed: int, condition: str, number: int) -> float:
    """With ``tokens=4``: far below; with average pooling the same as the baseline but for a hair; noise by seed."""
    if condition != "intact":
        return 5.0
    level = 60.0 - (40.0 if "tokens=4" in variant else 0.0) - (0.01 if "average" in variant else 0.0)
    return (
        level
        + 10.0 * (number % 2)
        + 0.1 * seed
        + 0.05 * ((seed * (2 if "tokens=4" in variant else 1) + len(variant)) % 3)
    )


@pytest.fixture(scope="session")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Three seeds; two variants are worse, one is equivalent."""
    return make(tmp_path_factory.mktemp("decided"), scorer=clear_scores, seeds=[0, 1, 2])[0]
