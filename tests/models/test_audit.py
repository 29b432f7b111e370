"""The audit finds what it is for: each test plants one lie."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from harness.models import VLM, ModelInputs
from harness.models.audit import audit_tuning, input_problems, optimizer_problems, parameter_digests
from harness.models.settings import LoraSettings, Tuning
from harness.models.tuning import set_tuning

from .tiny import FIRST_WORD, IMAGE, pack, pixels, with_image, words


def optimizer_of(vlm: VLM) -> torch.optim.Optimizer:
    return torch.optim.AdamW([parameter for _, _, parameter in vlm.trainable_parameters()], lr=1e-2)


def batch() -> ModelInputs:
    return pack([[with_image(4, document) for document in words(7, 5)]], pixels(2), labelled=True)


def step(vlm: VLM, optimizer: torch.optim.Optimizer) -> None:
    vlm.train()(batch()).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def test_an_honest_run_has_no_problems(vlm: VLM) -> None:
    set_tuning(vlm, Tuning("frozen", "full", "lora"), LoraSettings(rank=2), seed=0)
    before = parameter_digests(vlm)
    optimizer = optimizer_of(vlm)
    for _ in range(2):
        step(vlm, optimizer)
    audit = audit_tuning(vlm, before, Tuning("frozen", "full", "lora"), optimizer)
    assert audit.problems == ()
    assert audit.changed == audit.declared
    assert all(target.startswith("language.") for target in audit.adapter_targets)
    assert audit.as_json()["declared"]


def test_a_tower_that_was_declared_trainable_and_is_not(vlm: VLM) -> None:
    set_tuning(vlm, Tuning("full", "full", "full"), LoraSettings(), seed=0)
    vlm.vision.requires_grad_(False)  # as a forward under no_grad would have it
    before = parameter_digests(vlm)
    step(vlm, optimizer_of(vlm))
    problems = audit_tuning(vlm, before, Tuning("full", "full", "full")).problems
    assert problems
    assert all(problem.startswith("vision.") and "did not change" in problem for problem in problems)


def test_a_freeze_that_did_nothing(vlm: VLM) -> None:
    set_tuning(vlm, Tuning("frozen", "full", "frozen"), LoraSettings(), seed=0)
    vlm.language.requires_grad_(True)
    before = parameter_digests(vlm)
    step(vlm, optimizer_of(vlm))
    problems = audit_tuning(vlm, before, Tuning("frozen", "full", "frozen")).problems
    assert any(problem.startswith("language.") and "not declared" in problem for problem in problems)


def test_tied_weights_are_declared_under_both_names(vlm: VLM) -> None:
    set_tuning(vlm, Tuning("frozen", "frozen", "full"), LoraSettings(), seed=0)
    before = parameter_digests(vlm)
    step(vlm, optimizer_of(vlm))
    audit = audit_tuning(vlm, before, Tuning("frozen", "frozen", "full"))
    assert audit.problems == ()
    assert {"language.model.lm_head.weight", "language.model.model.embed_tokens.weight"} <= set(audit.changed)


def test_optimisers_hold_every_trainable_parameter_once(vlm: VLM) -> None:
    set_tuning(vlm, Tuning("frozen", "full", "full"), LoraSettings(), seed=0)
    parameters = [parameter for _, _, parameter in vlm.trainable_parameters()]
    assert optimizer_problems(vlm, torch.optim.SGD(parameters, lr=1)) == []
    assert "in 0 optimiser groups" in optimizer_problems(vlm, torch.optim.SGD(parameters[1:], lr=1))[0]
    frozen = next(vlm.vision.parameters())
    assert "frozen" in optimizer_problems(vlm, torch.optim.SGD([*parameters, frozen], lr=1))[0]
    stranger = torch.nn.Parameter(torch.zeros(1))
    assert "not the model's" in optimizer_problems(vlm, torch.optim.SGD([*parameters, stranger], lr=1))[0]
    doubled = torch.optim.SGD(parameters, lr=1)
    doubled.param_groups.append(dict(doubled.param_groups[0], params=parameters[:1]))
    assert "in 2 optimiser groups" in optimizer_problems(vlm, doubled)[0]


def label(inputs: ModelInputs, at: tuple[int, int], value: int) -> ModelInputs:
    labels = inputs.labels.clone()
    labels[at] = value
    return replace(inputs, labels=labels)


def test_an_honest_batch(vlm: VLM) -> None:
    assert input_problems(vlm, batch()) == []
    assert input_problems(vlm, replace(batch(), labels=None)) == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda inputs: label(inputs, (0, 2), IMAGE), "on an image placeholder"),
        (lambda inputs: label(inputs, (0, 11), int(inputs.input_ids[0, 11])), "first token of a document"),
        (lambda inputs: label(inputs, (0, 8), FIRST_WORD), "differs from the token"),
        (lambda inputs: replace(inputs, images=None), "8 placeholders for 0 images"),
    ],
)
def test_each_lie_in_a_batch_is_named(vlm: VLM, spoil: object, message: str) -> None:
    assert any(message in problem for problem in input_problems(vlm, spoil(batch())))


def test_labels_and_placeholders_in_the_padding(vlm: VLM) -> None:
    inputs = pack([words(6), words(3)], labelled=True)
    assert any("on padding" in problem for problem in input_problems(vlm, label(inputs, (1, 4), 0)))
    ids = inputs.input_ids.clone()
    ids[1, 3:] = IMAGE
    assert any("lies in the padding" in problem for problem in input_problems(vlm, replace(inputs, input_ids=ids)))


def test_a_run_that_was_tuned_otherwise_than_the_spec_says(vlm: VLM) -> None:
    set_tuning(vlm, Tuning("frozen", "full", "frozen"), LoraSettings(), seed=0)
    before = parameter_digests(vlm)
    step(vlm, optimizer_of(vlm))
    problems = audit_tuning(vlm, before, Tuning("frozen", "full", "full")).problems
    assert problems
    assert all(problem.startswith("language.") and "did not change" in problem for problem in problems)
