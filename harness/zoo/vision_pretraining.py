"""Pretrain a small vision encoder on drawn scenes: ``python -m harness.zoo.vision_pretraining --steps 4000 OUT``.

The encoder is a plain SigLIP tower. What it is asked for while it learns is what a user of it will need later: which
object and which characters lie under each patch, and what the sign says (an attention-pooled query a position). The
heads are thrown away. Scenes come from the training split of a world with another seed than any VLM's, so no test scene
and no held-out sign is ever drawn.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

from harness.data.microworld.draw import draw_scene
from harness.data.microworld.objects import load_objects
from harness.data.microworld.pictures.pack import CHARACTERS, LETTER_WIDTH
from harness.data.microworld.scene import CANVAS, COLORS, SIGN_HEIGHT, SIGN_WIDTH, Scene, sample_scene

WORLD_SEED = 7_001
SIGN_LENGTH = 4


@dataclass(frozen=True)
class VisionRecipe:
    """How one encoder is made; everything that decides its weights."""

    steps: int
    batch_size: int = 32
    learning_rate: float = 1.5e-3
    warmup_steps: int = 100
    weight_decay: float = 0.05
    seed: int = 0
    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    image_size: int = 96
    patch_size: int = 8

    @property
    def grid(self) -> int:
        """Patches a side."""
        return self.image_size // self.patch_size


def to_pixels(pictures: np.ndarray, size: int) -> Tensor:
    """Pictures uint8 [N, H, W, 3], H a multiple of ``size``, as pixel values float32 [N, 3, size, size] in -1..1."""
    scale = pictures.shape[1] // size
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    return F.avg_pool2d(pixels, scale).round() / 127.5 - 1.0


def patch_labels(scene: Scene, grid: int) -> np.ndarray:
    """Which object lies under the centre of each patch: int64 [grid, grid]; 0 nothing, 1 sign, 2 + object number."""
    labels = np.zeros((grid, grid), dtype=np.int64)
    centres = (np.arange(grid) + 0.5) * CANVAS / grid

    def mark(x: int, y: int, width: int, height: int, value: int) -> None:
        rows = (centres >= y) & (centres < y + height)
        columns = (centres >= x) & (centres < x + width)
        labels[np.ix_(rows, columns)] = value

    for item in scene.objects:
        mark(item.x, item.y, item.size, item.size, item.object + 2)
    if scene.sign:
        mark(scene.sign.x, scene.sign.y, SIGN_WIDTH, SIGN_HEIGHT, 1)
    return labels


def character_labels(scene: Scene, grid: int) -> np.ndarray:
    """Which character lies under each half of each patch: int64 [grid, grid, 2]; 0 none, 1 + its number."""
    labels = np.zeros((grid, 2 * grid), dtype=np.int64)
    if scene.sign:
        text = scene.sign.text
        left = scene.sign.x + (SIGN_WIDTH - LETTER_WIDTH * len(text)) // 2
        rows = (np.arange(grid) + 0.5) * CANVAS / grid
        inside = (rows >= scene.sign.y) & (rows < scene.sign.y + SIGN_HEIGHT)
        columns = (np.arange(2 * grid) + 0.5) * CANVAS / grid / 2
        for order, character in enumerate(text):
            under = (columns >= left + order * LETTER_WIDTH) & (columns < left + (order + 1) * LETTER_WIDTH)
            labels[np.ix_(inside, under)] = CHARACTERS.index(character) + 1
    return labels.reshape(grid, grid, 2)


def sign_labels(scene: Scene) -> np.ndarray:
    """The characters of the sign: int64 [4]; 0 none, 1 + number of the character."""
    text = scene.sign.text if scene.sign else ""
    return np.array([CHARACTERS.index(text[i]) + 1 if i < len(text) else 0 for i in range(SIGN_LENGTH)], dtype=np.int64)


def pretraining_scenes() -> Iterator[Scene]:
    """The scenes in order: of those without a sign only every third, for reading takes the longest to learn."""
    signless = 0
    for index in itertools.count():
        scene = sample_scene(WORLD_SEED, "train", index)
        signless += scene.sign is None
        if scene.sign or signless % 3 == 0:
            yield scene


class Heads(nn.Module):
    """The questions asked while pretraining; never shipped."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.objects = nn.Linear(width, len(load_objects()) + 2)
        self.ink = nn.Linear(width, 2 * (len(CHARACTERS) + 1))
        self.queries = nn.Parameter(torch.randn(SIGN_LENGTH, width) * width**-0.5)
        self.keys = nn.Linear(width, width)
        self.characters = nn.ModuleList(nn.Linear(width, len(CHARACTERS) + 1) for _ in range(SIGN_LENGTH))
        self.background = nn.Linear(width, len(COLORS))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features [N, P, D] → logits: objects [N, P, O], ink [N, P, 2, C], characters [N, 4, C], background."""
        attention = torch.softmax(self.keys(features) @ self.queries.T / features.shape[-1] ** 0.5, dim=1)  # [N, P, 4]
        pooled = attention.transpose(1, 2) @ features  # [N, 4, D]
        characters = torch.stack([head(pooled[:, i]) for i, head in enumerate(self.characters)], dim=1)
        ink = self.ink(features).unflatten(-1, (2, -1))
        return self.objects(features), ink, characters, self.background(features)


@dataclass(frozen=True)
class Batch:
    """Pixels [N, 3, S, S] and the labels of a batch of scenes."""

    pixels: Tensor
    objects: Tensor
    ink: Tensor
    characters: Tensor
    background: Tensor

    @classmethod
    def draw(cls, scenes: list[Scene], recipe: VisionRecipe) -> Batch:
        """Draw and label scenes."""
        pictures = np.stack([draw_scene(scene) for scene in scenes])
        return cls(
            to_pixels(pictures, recipe.image_size),
            torch.from_numpy(np.stack([patch_labels(scene, recipe.grid) for scene in scenes])).flatten(1),
            torch.from_numpy(np.stack([character_labels(scene, recipe.grid) for scene in scenes])).flatten(1, 2),
            torch.from_numpy(np.stack([sign_labels(scene) for scene in scenes])),
            torch.tensor([scene.background for scene in scenes]),
        )


def measure(
    tower: SiglipVisionModel, heads: Heads, recipe: VisionRecipe, split: str, scenes: int = 500
) -> dict[str, float]:
    """Intrinsic scores on another split: patch accuracy on objects, signs read exactly (seen and unseen strings)."""
    from harness.data.microworld.scene import sign_pool

    tower.eval()
    sample = [sample_scene(WORLD_SEED, split, index) for index in range(scenes)]
    hits: dict[str, list[float]] = {"objects": [], "signs_seen": [], "signs_unseen": []}
    with torch.no_grad():
        for start in range(0, scenes, 100):
            chunk = sample[start : start + 100]
            batch = Batch.draw(chunk, recipe)
            objects, _, characters, _ = heads(tower(batch.pixels).last_hidden_state)
            on_object = batch.objects > 1
            hits["objects"] += (objects.argmax(-1) == batch.objects)[on_object].float().tolist()
            right = (characters.argmax(-1) == batch.characters).all(-1)
            for scene, read in zip(chunk, right.tolist(), strict=True):
                if scene.sign:
                    seen = sign_pool(scene.sign.text) == "train"
                    hits["signs_seen" if seen else "signs_unseen"].append(float(read))
    tower.train()
    return {name: round(100 * float(np.mean(values)), 1) for name, values in hits.items()}


def _balanced(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy over all patches plus over those that show something: most patches are empty."""
    shown = labels > 0
    return F.cross_entropy(logits, labels) + F.cross_entropy(logits[shown], labels[shown])


def pretrain(recipe: VisionRecipe, out: Path) -> dict[str, object]:
    """Train an encoder and write it as a Hugging Face directory with its image processor and a card."""
    torch.manual_seed(recipe.seed)
    config = SiglipVisionConfig(  # type: ignore[call-arg]
        hidden_size=recipe.hidden_size,
        intermediate_size=4 * recipe.hidden_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        image_size=recipe.image_size,
        patch_size=recipe.patch_size,
        vision_use_head=False,
        attn_implementation="eager",  # with "medium" products the fused kernel of the CPU is several times slower
    )
    tower = SiglipVisionModel(config)
    body = torch.compile(tower) if shutil.which("g++") else tower
    heads = Heads(recipe.hidden_size)
    parameters = [*tower.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, recipe.steps, pct_start=recipe.warmup_steps / recipe.steps
    )
    started = time.process_time()
    scenes = pretraining_scenes()
    for step in range(recipe.steps):
        batch = Batch.draw(list(itertools.islice(scenes, recipe.batch_size)), recipe)
        objects, ink, characters, background = heads(body(batch.pixels)[0])
        loss = (
            _balanced(objects.flatten(0, 1), batch.objects.flatten())
            + _balanced(ink.flatten(0, 2), batch.ink.flatten())
            + F.cross_entropy(characters.flatten(0, 1), batch.characters.flatten())
            + 0.2 * F.cross_entropy(background.mean(1), batch.background)
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 200 == 0 or step + 1 == recipe.steps:
            scores = measure(tower, heads, recipe, "validation", 200)
            print(
                json.dumps(
                    {
                        "step": step + 1,
                        "loss": round(loss.item(), 3),
                        **scores,
                        "seconds": round(time.process_time() - started),
                    }
                ),
                flush=True,
            )
    scores = measure(tower, heads, recipe, "test")
    tower.half().save_pretrained(out)
    SiglipImageProcessor(  # BOX is what ``to_pixels`` does
        size={"height": recipe.image_size, "width": recipe.image_size},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        resample=Image.Resampling.BOX,
    ).save_pretrained(out)
    card: dict[str, object] = {
        "made_by": "harness.zoo.vision_pretraining",
        "recipe": asdict(recipe),
        "data": f"microworld seed {WORLD_SEED}, split train, {recipe.steps * recipe.batch_size} scenes, each seen once",
        "core_seconds": round(time.process_time() - started),
        "parameters": sum(p.numel() for p in tower.parameters()),
        "scores": {"split": "test", **scores},
    }
    (out / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return card


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("medium")
    print(json.dumps(pretrain(VisionRecipe(arguments.steps, seed=arguments.seed), arguments.out), indent=2))
