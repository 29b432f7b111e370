from __future__ import annotations

from harness.evaluate.selection import select
from harness.evaluate.tasks import get_task

from .tiny import TinyDataset


def ids(count: int, dataset: TinyDataset, task: str = "vqav2", split: str = "test") -> list[str]:
    return [sample.id for sample in select(get_task(task).read(dataset, split), count)]  # type: ignore[arg-type]


def test_smaller_selections_are_part_of_larger_ones() -> None:
    dataset = TinyDataset()
    assert ids(5, dataset) == ids(10, dataset)[:5]
    assert set(ids(10, dataset)) < set(ids(20, dataset))
    assert len(ids(99, dataset)) == 20


def test_order_of_the_pool_does_not_matter() -> None:
    assert ids(7, TinyDataset()) == ids(7, TinyDataset(reverse=True))


def test_is_not_simply_the_beginning_and_differs_between_tasks() -> None:
    dataset = TinyDataset()
    assert ids(10, dataset) != sorted(ids(10, dataset))
    assert set(ids(10, dataset)) != {str(20000 // 10 * 10 + 10 * n) for n in range(10)}
    assert ids(20, dataset, "okvqa") != ids(20, dataset, "vqav2")


def test_a_pool_that_grows_keeps_the_order() -> None:
    small, large = TinyDataset(), TinyDataset(pools={"support": 12, "validation": 6, "test": 40})
    before = ids(20, small)
    assert [id for id in ids(40, large) if id in before] == before
