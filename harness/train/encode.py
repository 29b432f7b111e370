"""The executor of ``features`` stages: what a frozen encoder sees of every image, computed once for a whole sweep."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from harness.data.features import ARRAY, write_index
from harness.data.located import open_stage_data
from harness.data.views import Splitting, Views
from harness.models.backbones.vision import VisionBackbone
from harness.models.images import load_preparation
from harness.store import Workspace
from harness.train.execution import active_device
from harness.train.pictures import image_keys

BATCH = 50
REPORT_EVERY = 10


def run(workspace: Workspace) -> None:
    """Encode the images of a data set, or the tiles they are split into; resumes at the last batch that was flushed to
    disk.
    """
    stage = workspace.stage
    dataset = open_stage_data(stage)
    images = image_keys(dataset, stage.config["images"])
    size = stage.config["image"]["size"]
    views = Views(Splitting.of(stage.config.get("splitting"), size), dataset.image, dataset.image_shape)
    if "splitting" in stage.config:
        images = [tile for key in images for tile in views.tiles(key)]
    device = active_device()
    encoder = VisionBackbone.from_pretrained(stage.location["vision"], size).eval().to(device)
    prepare = load_preparation(stage.location["vision"], stage.config["image"], encoder.patch_size)
    grids = prepare.grids([views.shape(name) for name in images]) if prepare.keeps_aspect else None
    partial = workspace.scratch / ARRAY
    progress = workspace.scratch / "encoded.txt"
    shape = (len(images), encoder.grid[0] * encoder.grid[1], encoder.width)
    table, done = _table(partial, progress, shape)
    batch = workspace.within_memory(BATCH)
    with torch.no_grad():
        for number, start in enumerate(range(done, shape[0], batch)):
            keys = images[start : start + batch]
            inputs = prepare([views.picture(name) for name in keys])
            seen = encoder(inputs.pixels.to(device), inputs.grids).values
            table[start : start + len(keys)] = seen.half().cpu().numpy()
            if number % REPORT_EVERY == REPORT_EVERY - 1:
                table.flush()
                progress.write_text(str(start + len(keys)))
            workspace.report(step=start + len(keys), steps=shape[0])
    table.flush()
    del table
    partial.replace(workspace.path(ARRAY))
    write_index(workspace.directory, images, encoder.grid, grids)
    workspace.finish("complete", {"images": shape[0], "grid": list(encoder.grid), "width": encoder.width})


def _table(partial: Path, progress: Path, shape: tuple[int, int, int]) -> tuple[np.memmap, int]:
    """The array to fill and how many rows of it are filled; what was left in pieces is begun again."""
    try:
        done = int(progress.read_text())
        table = np.lib.format.open_memmap(partial, mode="r+")
    except (OSError, ValueError):  # nothing there, or cut short by a full disk
        done = 0
    if not done or table.shape != shape:
        done = 0
        progress.unlink(missing_ok=True)
        table = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
    # The file of a new map is a hole: on a full disk, filling it is a SIGBUS, but asking for its blocks is an error.
    with open(partial, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    return table, done
