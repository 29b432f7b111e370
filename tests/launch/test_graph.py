from __future__ import annotations

import pytest
from toy_graphs import Toys

from harness.errors import HarnessError
from harness.launch.graph import Graph
from harness.store import Stage, Store


def test_inputs_come_first_and_the_order_is_kept_otherwise(toys: Toys) -> None:
    stages = toys.fan(3)
    order = Graph(reversed(stages)).in_dependency_order()
    for index, stage in enumerate(order):
        assert {one.id for one in order[:index]} >= set(stage.inputs.values())
    assert Graph(stages).in_dependency_order() == stages


def test_a_stage_given_twice_counts_once(toys: Toys) -> None:
    stages = toys.chain(2)
    assert list(Graph(stages + stages)) == stages


def test_long_chains_are_no_problem(toys: Toys, store: Store) -> None:
    stages = toys.chain(2000)
    graph = Graph(reversed(stages))
    graph.check(store)
    assert graph.in_dependency_order() == stages


def test_a_missing_input_is_named(toys: Toys, store: Store) -> None:
    first, second = toys.chain(2)
    with pytest.raises(HarnessError, match=first.id):
        Graph([second]).check(store)
    store.open(first).finish()
    Graph([second]).check(store)


def test_a_circle_is_refused(store: Store) -> None:
    """Ids are digests, so only a forged graph has one."""
    graph = Graph([])
    one, other = "1" * 16, "2" * 16
    stages = {one: Stage("toy", 1, {}, inputs={"x": other}), other: Stage("toy", 1, {"a": 1}, inputs={"x": one})}
    graph.stages = stages
    with pytest.raises(HarnessError, match="circle"):
        graph.check(store)
