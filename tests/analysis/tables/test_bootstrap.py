from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from harness.analysis import Table
from harness.analysis.document import to_json
from harness.analysis.samples.questions import Questions
from harness.analysis.samples.scored import Scored
from harness.analysis.samples.scores import TaskScores
from harness.analysis.statistics.intervals import Interval
from harness.analysis.tables.bootstrap import bootstrap
from harness.plan import Plan
from harness.store import Store
from tests.synthetic import finish_run


def scores(values: list[float], task: str = "vqav2", per_image: int = 2, first: int = 0) -> TaskScores:
    count = len(values)
    asked = Questions(
        task,
        tuple(f"{task}-{n:04d}" for n in range(count)),
        tuple(f"image-{first + n // per_image}" for n in range(count)),
        (0,) * count,
        ("p",) * count,
        ("",) * count,
    )
    return TaskScores("m", asked, np.array(values, dtype=np.float64), {})


def noisy(seed: int, deviation: float, count: int = 100, shift: float = 0.0, per_image: int = 2) -> list[float]:
    """Values that are the same within an image."""
    source = random.Random(seed)
    return [value for value in (source.gauss(50.0 + shift, deviation) for _ in range(count)) for _ in range(per_image)]


def terms(first: Mapping[int, list[TaskScores]], second: Mapping[int, list[TaskScores]]) -> list[tuple[float, Scored]]:
    return [(1.0, Scored(first)), (-1.0, Scored(second))]


def interval(found: Interval | None) -> Interval:
    assert found is not None
    return found


def width(found: Interval | None) -> float:
    each = interval(found)
    assert each.low is not None
    assert each.high is not None
    return each.high - each.low


def test_one_seed_is_the_spread_of_images() -> None:
    """Both values of an image go together: the width is that of 100 images, not of 200 samples."""
    zero = scores([0.0] * 200)
    found = bootstrap(terms({0: [scores(noisy(1, 10.0))]}, {0: [zero]}), 0.95, ["a"])
    assert width(found) == pytest.approx(2 * 1.96 * 10.0 / 100**0.5, rel=0.15)
    assert interval(found).mean == pytest.approx(50.0, abs=3.0)


def test_seeds_are_drawn_too() -> None:
    first = {seed: [scores([50.0 + 10.0 * seed] * 20)] for seed in (0, 1)}
    second = {seed: [scores([50.0] * 20)] for seed in (0, 1)}
    found = interval(bootstrap(terms(first, second), 0.95, ["a"]))
    assert (found.low, found.mean, found.high) == (0.0, 5.0, 10.0)


def test_what_makes_an_image_hard_cancels() -> None:
    base = noisy(1, 20.0)
    found = bootstrap(terms({0: [scores([v + 3.0 for v in base])]}, {0: [scores(base)]}), 0.95, ["a"])
    assert interval(found).low == pytest.approx(3.0)
    assert width(found) == pytest.approx(0.0, abs=1e-9)


def test_benchmarks_weigh_alike_and_none_runs_empty() -> None:
    """One image for one benchmark, a hundred for the other: each draw has both."""
    one = [scores([80.0, 80.0], "coco", first=1000), scores([20.0] * 200)]
    zero = [scores([0.0, 0.0], "coco", first=1000), scores([0.0] * 200)]
    found = interval(bootstrap(terms({0: one}, {0: zero}), 0.95, ["a"]))
    assert (found.low, found.mean, found.high) == (50.0, 50.0, 50.0)


def test_draws_follow_from_the_identity_alone() -> None:
    data = terms({0: [scores(noisy(1, 10.0))]}, {0: [scores(noisy(2, 10.0))]})
    first, again = (bootstrap(data, 0.95, ["sweep", "ab"]) for _ in range(2))
    assert first == again
    assert bootstrap(data, 0.95, ["sweepa", "b"]) != first


def test_digits_that_every_machine_must_give() -> None:
    source = [float((7 * n * n + 3 * n) % 101) for n in range(60)]
    other = [float((5 * n * n + n) % 97) for n in range(60)]
    data = terms(
        {s: [scores([v + 2.0 * s for v in source])] for s in (0, 1, 2)}, {s: [scores(other)] for s in (0, 1, 2)}
    )
    found = interval(bootstrap(data, 0.95, ["golden"]))
    assert (found.low, found.high) == GOLDEN


GOLDEN = (-6.672638888888888, 5.7411111111111)


def test_chunks_change_nothing_but_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    data = terms({s: [scores(noisy(s, 10.0))] for s in (0, 1)}, {s: [scores(noisy(9 + s, 10.0))] for s in (0, 1)})
    whole = bootstrap(data, 0.95, ["a"])
    monkeypatch.setattr("harness.analysis.tables.bootstrap._AT_ONCE", 1)
    assert width(bootstrap(data, 0.95, ["a"])) == pytest.approx(width(whole), rel=0.1)


def test_without_common_seeds_or_equal_questions_there_is_none() -> None:
    one, two = scores([1.0, 2.0]), scores([1.0, 2.0], "coco")
    assert bootstrap(terms({0: [one]}, {1: [one]}), 0.95, ["a"]) is None
    assert bootstrap(terms({0: [one]}, {0: [two]}), 0.95, ["a"]) is None


def test_it_is_added_to_the_differences(plan: Plan, store: Store, table_of: Callable[[Plan], Table]) -> None:
    for run in plan.runs:
        finish_run(store, plan, run)
    table = table_of(plan)
    for row in to_json(table, bootstrap=True)["rows"]:
        for difference in row["difference"].values():
            found = difference["bootstrap"]
            if row["baseline"]:
                assert found == {"mean": None, "low": None, "high": None}
            else:
                assert found["mean"] == pytest.approx(difference["mean"], abs=1e-6)
                assert found["low"] < found["mean"] < found["high"]
    assert "bootstrap" not in to_json(table)["rows"][1]["difference"]["mean"]
