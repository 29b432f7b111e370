"""Several ranks train as one: the same losses, norms and weights, with the model whole on each or in parts."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from harness.data.documents import IMAGE, Document
from harness.data.packing import PackedRows, pack
from harness.distributed.ranks import Ranks
from harness.errors import HarnessError
from harness.models import VLM, PixelInputs, load_vlm
from harness.models.audit import weights_digest
from harness.models.checkpointing import gradient_checkpointing
from harness.models.settings import LoraSettings, Tuning
from harness.models.sharding import Shards, local
from harness.models.tuning import set_tuning
from harness.train import checkpoint
from harness.train.loop import Step, run_steps
from harness.train.optimizer import build_optimizer, gradient_norms
from harness.train.passes import alike, find_filler
from harness.train.telemetry import Telemetry
from tests.distributed.worlds import as_ranks
from tests.models.tiny import FIRST_WORD, VOCABULARY, model_section, write_language, write_vision

PHASE: dict[str, Any] = {
    "steps": 5,
    "schedule": {"kind": "cosine", "warmup_steps": 1, "final_ratio": 0.1},
    "clip_norm": 0.05,
    "precision": "float32",
    "learning_rate": {"vision": 1e-3, "connector": 1e-2, "language": 1e-3, "fusion": 1e-2},
    "optimizer": {"betas": [0.9, 0.95], "epsilon": 1e-8, "weight_decay": 0.01},
}
DOCUMENTS = 5  # on four ranks with micro-batches of one: two passes on the first rank, one on the others
FLAMINGO = {"kind": "cross_attention", "flavour": "flamingo", "cross_attn_every": 2, "gate": "scalar"}


@dataclass(frozen=True)
class Case:
    """A design and how it is trained; ``images``: one document in so many has one, 0: none has, and none of the step
    ``blank``.
    """

    name: str
    vision: str = "full"
    language: str = "full"
    fusion: dict[str, Any] | None = None
    shard: bool = True
    checkpointing: bool = False
    images: int = 2
    blank: int = -1
    dropout: float = 0.0
    micro_batch: int = 1


CASES = (
    Case("replicate", shard=False),
    Case("shard"),
    Case("frozen_encoder_and_lora", vision="frozen", language="lora"),
    Case("cross_attention", fusion=FLAMINGO, checkpointing=True),
    Case("few_images", images=5, micro_batch=2),
    Case("a_step_without_images", blank=1),
    Case("no_images", images=0),
    Case("no_images_replicated", images=0, shard=False),
)


def documents(step: int, case: Case) -> list[Document]:
    """Of uneven lengths, with images in some."""
    rng = np.random.default_rng(step)
    made = []
    for number in range(DOCUMENTS):
        length = int(rng.integers(2, 12))
        words = rng.integers(FIRST_WORD, VOCABULARY, length).tolist()
        supervised = (False, *[True] * (length - 1))
        if case.images and step != case.blank and (number + step) % case.images == 0:
            made.append(Document((IMAGE, *words), (False, *supervised), (f"{step}-{number}",)))
        else:
            made.append(Document(tuple(words), supervised, ()))
    return made


def build(paths: tuple[Path, Path], case: Case) -> VLM:
    vlm = load_vlm(model_section(**({"fusion": case.fusion} if case.fusion else {})), 0, *paths)
    fusion = "full" if case.fusion else "frozen"
    tuning = Tuning(vision=case.vision, connector="full", language=case.language, fusion=fusion)  # type: ignore[arg-type]
    set_tuning(vlm, tuning, LoraSettings(rank=2, dropout=case.dropout), 0)
    return vlm


def images_of(vlm: VLM, case: Case) -> Any:
    """Random pixels by key; features of a frozen encoder, as the executor has it."""

    def pixels(keys: Any) -> PixelInputs:
        seeds = [1000 * int(step) + int(number) for step, number in (key.split("-") for key in keys)]
        drawn = [np.random.default_rng(seed).normal(size=(3, 32, 32)) for seed in seeds]
        return PixelInputs(torch.tensor(np.stack(drawn), dtype=torch.float32))

    def features(keys: Any) -> Any:
        with torch.no_grad():
            return vlm.encode(pixels(keys))

    return features if case.vision == "frozen" else pixels


def work(vlm: VLM, case: Case, ranks: Ranks) -> Any:
    def packed(chunk: Any) -> PackedRows:
        return pack(chunk, vlm.placeholders_per_image, vlm.config.image_token_id, 64)

    filler = find_filler(document for step in range(PHASE["steps"]) for document in documents(step, case))

    def of(step: int) -> Step:
        mine = documents(step, case)[ranks.rank :: ranks.world_size]
        chunks = [mine[start : start + case.micro_batch] for start in range(0, len(mine), case.micro_batch)]
        passes = alike(chunks, filler, packed, ranks) if case.shard and ranks.world_size > 1 else ()
        return Step([packed(chunk) for chunk in chunks], passes=passes)

    return of


def train(paths: tuple[Path, Path], case: Case, folder: Path | None = None, stop: int = 0) -> dict[str, Any]:
    """Trains; with ``folder`` from the checkpoint there is, leaving one after ``stop`` steps."""
    ranks = Ranks.current()
    vlm = build(paths, case)
    whole_size = sum(parameter.numel() for parameter in vlm.parameters())
    shards = Shards(vlm) if case.shard and ranks.world_size > 1 else None
    optimizer = build_optimizer(vlm.trainable_parameters(), PHASE["learning_rate"], PHASE["optimizer"])
    telemetry = Telemetry()
    if folder is not None and (folder / "telemetry.jsonl").exists():
        telemetry = Telemetry.load(folder / "telemetry.jsonl")
        checkpoint.load(folder if ranks.leads else None, vlm, optimizer, ranks)
    applied: list[float] = []
    optimizer.register_step_pre_hook(lambda which, *_: applied.append(gradient_norms(which)["total"]))

    def after_step(step: int) -> None:
        if folder is not None and step + 1 == stop:
            checkpoint.save(folder if ranks.leads else None, vlm, optimizer)
            if ranks.leads:
                telemetry.save(folder / "telemetry.jsonl")

    with gradient_checkpointing(vlm, case.checkpointing):
        run_steps(vlm, optimizer, PHASE, work(vlm, case, ranks), images_of(vlm, case), telemetry, after_step, ranks)
    whole = (shards.gather() if shards else None) or vlm
    return {
        "rows": telemetry.rows,
        "applied": applied,
        "weights": {name: p.detach().clone() for name, p in whole.named_parameters()} if ranks.leads else {},
        "digest": weights_digest(whole) if ranks.leads else "",
        "split": all(isinstance(parameter, DTensor) for parameter in vlm.parameters()),
        "share": sum(local(parameter).numel() for parameter in vlm.parameters()) / whole_size,
        "moments": sum(local(s["exp_avg"]).numel() for s in optimizer.state.values()),
    }


def _train_all(paths: tuple[Path, Path], folder: str) -> None:
    rank = dist.get_rank()
    for case in CASES:
        result = train(paths, case)
        torch.save(result, f"{folder}/{case.name}-{rank}.pt")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("backbones")
    return write_vision(root / "vision"), write_language(root / "language")


@pytest.fixture(scope="module")
def alone(paths: tuple[Path, Path]) -> dict[str, dict[str, Any]]:
    return {case.name: train(paths, case) for case in CASES}


@pytest.fixture(scope="module", params=[2, 4])
def together(
    request: pytest.FixtureRequest, paths: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Results by case, of each rank."""
    folder = tmp_path_factory.mktemp(f"world{request.param}")
    as_ranks(request.param, folder, _train_all, paths, str(folder))
    loaded = {
        case.name: [torch.load(folder / f"{case.name}-{rank}.pt") for rank in range(request.param)] for case in CASES
    }
    return request.param, loaded


def compare(rows: list[dict[str, float]], expected: list[dict[str, float]]) -> None:
    """The same telemetry up to the rounding of sums: norms of each component, counts to the digit."""
    assert len(rows) == len(expected)
    for row, other in zip(rows, expected, strict=True):
        assert row.keys() == other.keys()
        for name, value in other.items():
            if name == "loss" or name.startswith("gradient_norm"):
                tolerance = 1e-6 if name == "loss" else 1e-5
                assert math.isclose(row[name], value, rel_tol=tolerance, abs_tol=1e-7), (name, row, other)
            elif name != "seconds":
                assert row[name] == value, name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_ranks_train_as_one(case: Case, together: Any, alone: dict[str, dict[str, Any]]) -> None:
    _, results = together
    expected = alone[case.name]
    assert any(row["gradient_norm_total"] > PHASE["clip_norm"] for row in expected["rows"])  # clipping is active
    for result in results[case.name]:
        compare(result["rows"], expected["rows"])
        assert result["applied"] == pytest.approx(expected["applied"], rel=1e-3)
    for name, value in expected["weights"].items():
        torch.testing.assert_close(results[case.name][0]["weights"][name], value, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("case", [case for case in CASES if case.shard], ids=lambda case: case.name)
def test_parameters_and_moments_are_really_split(case: Case, together: Any) -> None:
    world_size, results = together
    shares = [result["share"] for result in results[case.name]]
    assert all(result["split"] for result in results[case.name])
    assert sum(shares) == pytest.approx(1)
    assert max(shares) < 1.3 / world_size  # vectors shorter than the world lie on the first ranks
    moments = [result["moments"] for result in results[case.name]]
    assert max(moments) < 1.6 * sum(moments) / world_size


def test_without_sharding_every_rank_has_the_model(together: Any) -> None:
    _, results = together
    assert {(result["split"], result["share"]) for result in results["replicate"]} == {(False, 1.0)}


STOP = 2


def _resume(paths: tuple[Path, Path], folder: str) -> None:
    """Goes on where one process stopped, in parts and not; and stops where one process, or one of the other kind, goes
    on.
    """
    for name in ("shard", "replicate"):
        case = next(each for each in CASES if each.name == name)
        rows = {"from_one": train(paths, case, Path(folder) / f"one-{name}")["rows"]}
        train(paths, case, Path(folder) / f"two-{name}", STOP)
        other = next(each for each in CASES if each.name == ("replicate" if name == "shard" else "shard"))
        rows["from_other"] = train(paths, other, Path(folder) / f"two-{name}")["rows"]
        if dist.get_rank() == 0:
            (Path(folder) / f"{name}.json").write_text(json.dumps(rows))


def test_a_checkpoint_goes_on_at_any_number_of_ranks(
    paths: tuple[Path, Path], alone: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    expected = alone["shard"]["rows"]
    for name in ("shard", "replicate"):
        for folder in (tmp_path / f"one-{name}", tmp_path / f"two-{name}"):
            folder.mkdir()
        train(paths, Case(name), tmp_path / f"one-{name}", STOP)
    as_ranks(2, tmp_path, _resume, paths, str(tmp_path))
    for name in ("shard", "replicate"):
        rows = json.loads((tmp_path / f"{name}.json").read_text())
        compare(rows["from_one"], expected)
        compare(rows["from_other"], expected)
        resumed = train(paths, Case(name), tmp_path / f"two-{name}")["rows"]
        assert len(Telemetry.load(tmp_path / f"two-{name}" / "telemetry.jsonl").rows) == STOP
        compare(resumed, expected)


def _drop_out(paths: tuple[Path, Path], folder: str) -> None:
    """Trains with dropout, undisturbed and stopped between."""
    for shard in (False, True):
        case = Case("dropout", language="lora", dropout=0.5, shard=shard)
        kept = Path(folder) / f"kept-{shard}"
        kept.mkdir(exist_ok=True)
        rows = []
        for place, stop in ((None, 0), (kept, STOP), (kept, 0)):
            torch.manual_seed(0)
            rows.append(train(paths, case, place, stop)["rows"])
        (Path(folder) / f"{shard}-{dist.get_rank()}.json").write_text(json.dumps(rows))


def test_dropout_goes_on_where_it_was(paths: tuple[Path, Path], tmp_path: Path) -> None:
    as_ranks(2, tmp_path, _drop_out, paths, str(tmp_path))
    for shard in (False, True):
        for rank in range(2):
            rows = json.loads((tmp_path / f"{shard}-{rank}.json").read_text())
            undisturbed, _, resumed = [[{**row, "seconds": 0} for row in each] for each in rows]
            assert resumed == undisturbed
            plain = train(paths, Case("plain", language="lora"))["rows"]
            assert resumed[-1]["loss"] != pytest.approx(plain[-1]["loss"], rel=1e-6), "nothing was dropped"


def test_ranks_drop_what_is_theirs() -> None:
    def drawn(rank: int, seed: int, step: int) -> list[float]:
        torch.manual_seed(7)
        Ranks(rank, 4).seed_step(seed, step)
        return torch.rand(3).tolist()

    draws = [drawn(rank, seed, step) for rank in (1, 2, 3) for seed in (0, 1) for step in (0, 1)]
    assert len({tuple(each) for each in draws}) == len(draws)
    assert drawn(2, 1, 1) == drawn(2, 1, 1)
    torch.manual_seed(7)
    undisturbed = torch.rand(3).tolist()
    assert drawn(0, 1, 1) == undisturbed, "rank 0 goes on as one process does"


def test_a_torch_that_cannot_split_says_so(paths: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(FSDPModule, "set_force_sum_reduction_for_comms")
    with pytest.raises(HarnessError, match="cannot split a model") as caught:
        Shards(build(paths, Case("shard")))
    assert "replicate" in caught.value.remedy
