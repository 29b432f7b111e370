"""What share of the machine's matrix products training reaches: one core, fp32, the micro scale's language model.

    python benchmarks/training_speed.py [--steps 6] [--rounds 15] [--documents 8]

A step is forward, backward and optimiser of the whole language model on packed documents, 36 visual tokens an image,
features at hand. The yardstick is measured between the rounds, in the same process, at the model's own shapes: many
short rounds and their median, because a shared machine's rate changes by half within a minute. "plain loop" is what
most trainers do with the same documents: padded batches through transformers' own forward and torch's AdamW. Only
tokens of documents count as work, for both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from transformers import AutoModelForCausalLM

import harness.zoo
from harness.data.documents import IMAGE, Document
from harness.data.packing import PackedRows, pack
from harness.distributed.ranks import Ranks
from harness.models import load_vlm
from harness.models.architecture import Workload
from harness.models.flops import Tuned, VLMCosts
from harness.models.inputs import FeatureInputs
from harness.models.quiet import quiet_transformers
from harness.models.settings import LoraSettings, Tuning
from harness.models.tuning import set_tuning
from harness.spec import config_of
from harness.train.loop import Step, run_step
from harness.train.memory import keep_freed_memory
from harness.train.optimizer import build_optimizer
from harness.train.stage import matrix_shapes
from harness.train.telemetry import matrix_product_rate

ZOO = Path(harness.zoo.__file__).parent / "models"
LANGUAGE, VISION = ZOO / "language-base", ZOO / "vision-base"
CONFIG = config_of("idefics2", "micro", ["model.connector.kind=average_pool"])
TUNING = {"vision": "frozen", "connector": "full", "language": "full"}


def documents(count: int, seed: int = 0) -> list[Document]:
    """Half with one picture and seven solved prompts, half with three pictures and one each, as in the mixed phase."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        images, prompts = (1, 7) if number % 2 else (3, 1)
        ids: list[int] = [1]
        supervised = [False]
        for _ in range(images):
            ids.append(IMAGE)
            supervised.append(False)
            for _ in range(prompts):
                asked, told = int(rng.integers(7, 13)), int(rng.integers(2, 6))
                ids += rng.integers(5, 1000, asked + told).tolist()
                supervised += [False] * asked + [True] * told
        made.append(Document(tuple(ids), tuple(supervised), tuple(f"{number}-{i}" for i in range(images))))
    return made


def ours(
    batches: Sequence[Sequence[Document]],
) -> tuple[Callable[[int], object], float, dict[str, tuple[int, int, int]]]:
    """The harness's step; FLOPs of one; the shapes of its products."""
    vlm = load_vlm(CONFIG.model, 0, VISION, LANGUAGE)
    set_tuning(vlm, Tuning.of(TUNING), LoraSettings.of({}), 0)
    vlm.train()
    training = CONFIG.phases["mixed"].model_dump(mode="json")
    optimizer = build_optimizer(vlm.trainable_parameters(), training["learning_rate"], training["optimizer"])
    packed = [pack(batch, vlm.placeholders_per_image, vlm.config.image_token_id, 512) for batch in batches]
    features = torch.randn(256, vlm.vision.grid[0] * vlm.vision.grid[1], vlm.vision.width)

    def images(keys: Sequence[str]) -> FeatureInputs:
        return FeatureInputs(features[: len(keys)], vlm.vision.grid)

    work = [Step([rows], flops(vlm, rows)) for rows in packed]

    def step(number: int) -> object:
        return run_step(vlm, optimizer, number % 100, training, work[number % len(work)], images, Ranks.current())

    return step, statistics.mean(item.flops for item in work), matrix_shapes(vlm)


def flops(vlm: object, rows: PackedRows) -> int:
    """Of training on the rows, padding not counted."""
    config = vlm.config  # type: ignore[attr-defined]
    costs = VLMCosts(
        config.vision_config.to_dict(),
        config.text_config.to_dict(),
        config.connector_settings,
        config.fusion_settings,
        config.image_size,
    )
    workload = Workload(rows.lengths, len(rows.images), rows.supervised)
    return costs.training_flops(workload, Tuned(Tuning.of(TUNING)), True).total


def plain(batches: Sequence[Sequence[Document]]) -> Callable[[int], object]:
    """transformers' own forward on padded batches, a visual token as an id: the connector's work is not even done."""
    with quiet_transformers():
        model = AutoModelForCausalLM.from_pretrained(LANGUAGE, dtype=torch.float32)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    padded = []
    for batch in batches:
        rows = [[i for id_ in d.ids for i in ([5] * 36 if id_ == IMAGE else [id_])] for d in batch]
        length = max(map(len, rows))
        ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
        padded.append((ids, mask, ids.masked_fill(mask == 0, -100)))

    def step(number: int) -> None:
        ids, mask, labels = padded[number % len(padded)]
        model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def seconds(step: Callable[[int], object], steps: int) -> float:
    """Processor seconds of a step."""
    started = time.process_time()
    for number in range(steps):
        step(number)
    return (time.process_time() - started) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--documents", type=int, default=CONFIG.phases["mixed"].batch_size, help="of a step")
    parser.add_argument("--give-memory-back", action="store_true", help="leave the C library's settings alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kept = not arguments.give_memory_back and keep_freed_memory()
    size = arguments.documents
    all_documents = documents(8 * size)
    batches = [all_documents[start : start + size] for start in range(0, len(all_documents), size)]
    our_step, work, shapes = ours(batches)
    plain_step = plain(batches)
    seconds(our_step, 3), seconds(plain_step, 3)
    shares: dict[str, list[float]] = {"harness": [], "plain loop": []}
    rates: list[float] = []
    for _ in range(arguments.rounds):
        rate = matrix_product_rate(shapes, 0.5)
        rates.append(rate)
        shares["harness"].append(work / seconds(our_step, arguments.steps) / rate)
        shares["plain loop"].append(work / seconds(plain_step, max(2, arguments.steps // 3)) / rate)
    gigaflops = statistics.median(rates) / 1e9
    print(f"{work / 1e9:.1f} GFLOP a step, matrix products at {gigaflops:.0f} GFLOP/s, freed memory kept: {kept}")
    for name, values in shares.items():
        low, _, high = statistics.quantiles(values, n=4)
        middle = statistics.median(values)
        print(f"{name:12} {100 * middle:5.1f} %  (half of the rounds: {100 * low:.1f} to {100 * high:.1f})")


if __name__ == "__main__":
    main()
