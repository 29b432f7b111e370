"""The loop on a tiny VLM: what must not change the result does not, what must stop the run does."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from harness.data.documents import IMAGE, Document
from harness.data.packing import pack
from harness.distributed.ranks import Ranks
from harness.models import load_vlm
from harness.models.inputs import FeatureInputs
from harness.models.settings import LoraSettings, Tuning
from harness.models.tuning import set_tuning
from harness.train import checkpoint
from harness.train.loop import Diverged, Step, run_step, run_steps
from harness.train.optimizer import build_optimizer, gradient_norms
from harness.train.telemetry import Telemetry
from tests.models.tiny import FIRST_WORD, VOCABULARY, model_section, write_language, write_vision

PHASE = {
    "steps": 6,
    "schedule": {"kind": "cosine", "warmup_steps": 2, "final_ratio": 0.1},
    "clip_norm": 0.5,
    "precision": "float32",
    "learning_rate": {"vision": 0.0, "connector": 1e-2, "language": 1e-3},
    "optimizer": {"betas": [0.9, 0.95], "epsilon": 1e-8, "weight_decay": 0.01},
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("backbones")
    return write_vision(root / "vision"), write_language(root / "language")


def build(paths, language="full", dropout=0.0):
    torch.manual_seed(0)
    vlm = load_vlm(model_section(), 0, *paths)
    lora = LoraSettings(rank=2, dropout=dropout)
    set_tuning(vlm, Tuning(vision="frozen", connector="full", language=language), lora, 0)
    return vlm, build_optimizer(vlm.trainable_parameters(), PHASE["learning_rate"], PHASE["optimizer"])


def documents(step: int, count: int = 6) -> list[Document]:
    rng = np.random.default_rng(step)
    made = []
    for number in range(count):
        length = int(rng.integers(3, 9))
        words = rng.integers(FIRST_WORD, VOCABULARY, length).tolist()
        made.append(Document((IMAGE, *words), (False, False, *[True] * (length - 1)), (f"{step}-{number}",)))
    return made


def images(vlm):
    def load(keys):
        drawn = [
            np.random.default_rng(abs(hash_of(key))).normal(size=(vlm.vision.grid[0] ** 2, vlm.vision.width))
            for key in keys
        ]
        return FeatureInputs(torch.tensor(np.stack(drawn), dtype=torch.float32), vlm.vision.grid)

    return load


def hash_of(key: str) -> int:
    step, number = key.split("-")
    return 1000 * int(step) + int(number)


ALONE = Ranks()


def work(vlm, micro_batch=6, ranks=ALONE):
    def of(step):
        mine = documents(step)[ranks.rank :: ranks.world_size]
        chunks = [mine[i : i + micro_batch] for i in range(0, len(mine), micro_batch)]
        return Step([pack(chunk, vlm.placeholders_per_image, vlm.config.image_token_id, 64) for chunk in chunks])

    return of


def weights(vlm):
    return {name: p.detach().clone() for name, p in vlm.named_parameters() if p.requires_grad}


def train(paths, micro_batch=6):
    vlm, optimizer = build(paths)
    telemetry = Telemetry()
    run_steps(vlm, optimizer, PHASE, work(vlm, micro_batch), images(vlm), telemetry, lambda step: None)
    return weights(vlm), telemetry


def test_loss_falls_and_every_step_is_recorded(paths):
    _, telemetry = train(paths)
    assert [row["step"] for row in telemetry.rows] == list(range(PHASE["steps"]))
    assert telemetry.rows[-1]["loss"] < telemetry.rows[0]["loss"]
    assert telemetry.rows[0]["visual_tokens"] + telemetry.rows[0]["text_tokens"] == telemetry.rows[0]["tokens"]
    assert telemetry.rows[0]["images"] == 6


def test_objective_does_not_depend_on_the_micro_batches(paths):
    """Uneven micro-batches with different token counts: a mean of means would differ."""
    whole, one = train(paths, micro_batch=6)
    split, other = train(paths, micro_batch=4)
    for a, b in zip(one.rows, other.rows, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
        assert a["gradient_norm_total"] == pytest.approx(b["gradient_norm_total"], rel=1e-4)
    for name, value in whole.items():
        torch.testing.assert_close(value, split[name], rtol=1e-3, atol=1e-5)


def _rank_main(rank: int, paths, port: int, out: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    vlm, optimizer = build(paths)
    telemetry = Telemetry()
    run_steps(vlm, optimizer, PHASE, work(vlm, ranks=Ranks.current()), images(vlm), telemetry, lambda step: None)
    torch.save({"weights": weights(vlm), "losses": [row["loss"] for row in telemetry.rows]}, f"{out}/{rank}.pt")
    dist.destroy_process_group()


def free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_two_gloo_ranks_train_as_one(paths, tmp_path):
    mp.spawn(_rank_main, (paths, free_port(), str(tmp_path)), nprocs=2)
    alone, telemetry = train(paths)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first["losses"] == second["losses"] == pytest.approx([row["loss"] for row in telemetry.rows], rel=1e-5)
    for name, value in alone.items():
        assert torch.equal(first["weights"][name], second["weights"][name])
        torch.testing.assert_close(first["weights"][name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("language", ["full", "lora", "frozen"])
@pytest.mark.parametrize("stop", [1, 4])
def test_resume_is_exact_to_the_bit(paths, tmp_path, language, stop):
    vlm, optimizer = build(paths, language)
    telemetry = Telemetry()
    run_steps(vlm, optimizer, PHASE, work(vlm), images(vlm), telemetry, lambda step: None)

    class Killed(Exception):
        pass

    def kill(step):
        if step + 1 == stop:
            checkpoint.save(tmp_path, broken, its_optimizer)
            partial.save(tmp_path / "telemetry.jsonl")
            raise Killed

    broken, its_optimizer = build(paths, language)
    partial = Telemetry()
    with pytest.raises(Killed):
        run_steps(broken, its_optimizer, PHASE, work(broken), images(broken), partial, kill)

    again, new_optimizer = build(paths, language)
    checkpoint.load(tmp_path, again, new_optimizer)
    resumed = Telemetry.load(tmp_path / "telemetry.jsonl")
    assert len(resumed.rows) == stop
    run_steps(again, new_optimizer, PHASE, work(again), images(again), resumed, lambda step: None)
    assert [row["loss"] for row in resumed.rows] == [row["loss"] for row in telemetry.rows]
    expected = weights(vlm)
    assert expected.keys() == weights(again).keys()
    assert all(torch.equal(value, expected[name]) for name, value in weights(again).items())


def test_a_loss_that_is_not_finite_is_divergence(paths):
    vlm, optimizer = build(paths)
    with torch.no_grad():
        next(p for name, p in vlm.named_parameters() if name.startswith("connector")).fill_(math.nan)
    with pytest.raises(Diverged) as caught:
        run_step(vlm, optimizer, 3, PHASE, work(vlm)(3), images(vlm), Ranks())
    assert caught.value.step == 3


def test_gradients_are_clipped_to_the_limit(paths):
    from harness.train.inputs import to_model_inputs
    from harness.train.optimizer import clip_gradients, gradient_norms

    vlm, optimizer = build(paths)
    rows = work(vlm)(0).micro_batches[0]
    vlm(to_model_inputs(rows, images(vlm))).loss.backward()
    before = gradient_norms(optimizer)["total"]
    reference = torch.nn.utils.get_total_norm([p.grad for p in vlm.parameters() if p.grad is not None]).item()
    assert before == pytest.approx(reference, rel=1e-5)
    clip_gradients(optimizer, before, before / 10)
    assert gradient_norms(optimizer)["total"] == pytest.approx(before / 10, rel=1e-4)


def test_every_parameter_is_in_exactly_one_group(paths):
    for language in ("full", "lora", "frozen"):
        vlm, optimizer = build(paths, language)
        held = [id(p) for group in optimizer.param_groups for p in group["params"]]
        assert sorted(held) == sorted(id(p) for p in vlm.parameters() if p.requires_grad)
        assert all(group["weight_decay"] == 0.0 for group in optimizer.param_groups if group["params"][0].ndim == 1)


def first_step(vlm, optimizer, **phase):
    return run_step(vlm.train(), optimizer, 0, {**PHASE, **phase}, work(vlm)(0), images(vlm), ALONE)


def test_resume_is_exact_with_dropout(paths, tmp_path):
    telemetry = Telemetry()
    vlm, optimizer = build(paths, "lora", dropout=0.5)

    def keep(step):
        if step == 2:
            checkpoint.save(tmp_path, vlm, optimizer)
            telemetry.save(tmp_path / "telemetry.jsonl")

    run_steps(vlm, optimizer, PHASE, work(vlm), images(vlm), telemetry, keep)
    again, its_optimizer = build(paths, "lora", dropout=0.5)
    checkpoint.load(tmp_path, again, its_optimizer)
    resumed = Telemetry.load(tmp_path / "telemetry.jsonl")
    run_steps(again, its_optimizer, PHASE, work(again), images(again), resumed, lambda step: None)
    assert [row["loss"] for row in resumed.rows] == [row["loss"] for row in telemetry.rows]
    expected = weights(vlm)
    assert all(torch.equal(value, expected[name]) for name, value in weights(again).items())


def test_the_phase_s_precision_is_used(paths):
    full, half = (first_step(*build(paths), precision=name)["loss"] for name in ("float32", "bfloat16"))
    assert full != half
    assert half == pytest.approx(full, rel=0.05)


def test_each_component_learns_at_its_own_scheduled_rate(paths):
    vlm, optimizer = build(paths)
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
        group["peak"] = 1e-2 if group["component"] == "connector" else 0.0
    before = weights(vlm)
    row = first_step(vlm, optimizer)
    after = weights(vlm)
    assert {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])} == {"connector"}
    # Adam's first step is the rate times the gradient's sign.
    largest = max((after[name] - before[name]).abs().max().item() for name in before if name.startswith("connector"))
    assert largest == pytest.approx(1e-2 * row["learning_rate_factor"], rel=1e-2)


def test_rates_belong_to_components(paths):
    _, optimizer = build(paths)
    assert {group["component"]: group["peak"] for group in optimizer.param_groups} == {
        name: PHASE["learning_rate"][name] for name in ("connector", "language")
    }


def test_the_step_clips_what_it_applies(paths):
    vlm, optimizer = build(paths)
    applied = []
    optimizer.register_step_pre_hook(lambda which, *_: applied.append(gradient_norms(which)["total"]))
    row = first_step(vlm, optimizer, clip_norm=1e-3)
    assert row["gradient_norm_total"] > 1e-2  # what is recorded is the norm before
    assert applied == [pytest.approx(1e-3, rel=1e-3)]


def test_a_rank_without_work_sends_zeros(monkeypatch):
    sent = []
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: sent.append(tensor.clone()) or tensor.mul_(2))
    idle, busy = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))
    busy.grad = torch.full((3,), 2.0)
    Ranks(0, 2).sum_gradients([idle, busy])
    assert [tensor.tolist() for tensor in sent] == [[0.0, 0.0, 2.0, 2.0, 2.0, 0.0, 1.0]]  # and which it has touched
    assert busy.grad.tolist() == [4.0, 4.0, 4.0]
    assert idle.grad is None  # no rank has touched it: AdamW would decay it, in one process it would not


def test_a_gradient_of_another_rank_arrives(monkeypatch):
    def other_rank(tensor):
        tensor += torch.tensor([3.0, 4.0, 0.0, 0.0, 0.0, 1.0, 0.0])

    monkeypatch.setattr(dist, "all_reduce", other_rank)
    idle, busy = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))
    busy.grad = torch.full((3,), 2.0)
    Ranks(0, 2).sum_gradients([idle, busy])
    assert idle.grad.tolist() == [3.0, 4.0]
    assert busy.grad.tolist() == [2.0, 2.0, 2.0]
