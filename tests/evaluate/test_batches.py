from __future__ import annotations

import random
from itertools import pairwise

import pytest

from harness.evaluate.batches import make_batches
from harness.evaluate.evaluation import Evaluation

from .tiny import TinyDataset, protocol


@pytest.fixture
def evaluation() -> Evaluation:
    return Evaluation.prepare(protocol(samples=20), TinyDataset())  # type: ignore[arg-type]


def test_every_prompt_once(evaluation: Evaluation) -> None:
    batches = make_batches(evaluation.all_prompts, 3)
    found = [(prompt.condition, prompt.sample_id) for batch in batches for prompt in batch.prompts]
    assert sorted(found) == sorted((p.condition, p.sample_id) for p in evaluation.all_prompts)
    assert all(len(batch.prompts) <= 3 for batch in batches)


def test_a_batch_shares_its_demonstrations(evaluation: Evaluation) -> None:
    for batch in make_batches(evaluation.all_prompts, 3):
        assert {prompt.demonstrations for prompt in batch.prompts} == {batch.demonstrations}
        assert {prompt.condition for prompt in batch.prompts} == {batch.condition}


def test_are_a_function_of_the_set_of_prompts(evaluation: Evaluation) -> None:
    prompts = list(evaluation.all_prompts)
    expected = [batch.sha256 for batch in make_batches(prompts, 3)]
    random.Random(0).shuffle(prompts)
    assert [batch.sha256 for batch in make_batches(prompts, 3)] == expected
    assert len(set(expected)) == len(expected)


def test_sets_come_one_after_another(evaluation: Evaluation) -> None:
    prefixes = [
        (batch.condition, batch.prompts[0].demonstration_set) for batch in make_batches(evaluation.all_prompts, 2)
    ]
    changes = sum(before != after for before, after in pairwise(prefixes))
    assert changes + 1 == len(set(prefixes))


def test_without_shots_sets_are_decoded_together() -> None:
    evaluation = Evaluation.prepare(protocol(shots=0, samples=20, controls=()), TinyDataset())  # type: ignore[arg-type]
    assert len(make_batches(evaluation.prompts("intact"), 20)) == 1


def test_without_shots_conditions_stay_apart() -> None:
    evaluation = Evaluation.prepare(protocol(shots=0, samples=20), TinyDataset())  # type: ignore[arg-type]
    batches = make_batches(evaluation.all_prompts, 64)
    assert [{prompt.condition for prompt in batch.prompts} for batch in batches] == [
        {"intact"},
        {"withheld"},
        {"shuffled"},
    ]


def test_chunks_are_even() -> None:
    changes = {"demonstration_sets": 1, "samples": 20, "controls": ()}
    evaluation = Evaluation.prepare(protocol(**changes), TinyDataset())  # type: ignore[arg-type]
    sizes = [len(batch.prompts) for batch in make_batches(evaluation.prompts("intact"), 19)]
    assert sizes == [10, 10]
