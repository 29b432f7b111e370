"""``harness data``: the embedded microworld in the official formats, and the index of a user's own files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness.cli.indexing import indexing
from harness.cli.live import generating
from harness.errors import HarnessError, SpecError
from harness.launch.pool import available_cores
from harness.report.quantities import count

SCALE = "micro"
PREFIX = "data.microworld."


def write_microworld(out: Path, overrides: Sequence[str], processes: int) -> int:
    """Writes a world of the micro scale's size, or of the sizes given."""
    from harness.data.microworld import write_out

    world = _world(overrides)
    processes = processes or available_cores()
    with generating(out, processes) as progress:
        write_out(world, out, progress, processes)
    print(f"{out}: " + ", ".join(f"{key}={value}" for key, value in world.items()))
    return 0


def index(folder: Path) -> int:
    """Builds the manifest of a data folder anew, and reads what the harness would read of it."""
    from harness.data.dataset import Dataset
    from harness.data.layout import TASKS
    from harness.data.manifest import Manifest
    from harness.plan.cache import cache_folder

    manifest = Manifest.build(folder, indexing)
    path = manifest.store(folder, cache_folder())
    size = sum(entry.size for entry in manifest.files.values())
    print(f"{path}: {count(len(manifest.files), 'file')}, {size / 1e6:,.1f} MB, digest {manifest.digest[:32]}")
    dataset = Dataset.open(folder, manifest)
    for task in TASKS:
        if dataset.has(task):
            pools = (f"{len(dataset.examples(task, pool))} {pool}" for pool in ("support", "validation", "test"))
            print(f"{task}: {', '.join(pools)}")
            dataset.check_headers(task)
        else:
            print(f"{task}: none")
    dataset.check_training()
    training = [count(len(dataset.pairs), "pair"), count(len(dataset.interleaved), "interleaved document")]
    if dataset.transcriptions:
        training.append(count(len(dataset.transcriptions), "transcribed page"))
    if dataset.document_questions:
        training.append(count(len(dataset.document_questions), "page with questions", "pages with questions"))
    print(f"training: {', '.join(training)}")
    return 0


def check(folder: Path, pixels: bool) -> int:
    """Compares a folder with its manifest, and its pictures and words across training, support, validation and test.

    Raises ``HarnessError`` for what changed and for what leaks.
    """
    from harness.data.dataset import Dataset
    from harness.data.leaks import find_leaks
    from harness.data.manifest import load_or_build
    from harness.plan.cache import cache_folder

    manifest = load_or_build(folder, cache_folder(), indexing)
    changes = manifest.changes(folder)
    if changes:
        raise HarnessError(
            f"{folder} is not what was indexed: {'; '.join(changes[:5])}",
            f"restore it, or: harness data index {folder}",
        )
    report = find_leaks(Dataset.open(folder, manifest), partial(indexing, what="comparing pictures"), pixels)
    print("pictures: " + ", ".join(f"{number} {group}" for group, number in report.pictures.items()))
    for subset, number in report.subsets.items():
        print(f"held out: {subset}, {count(number, 'question')}")
    report.require_none()
    print("no picture, held-out sign or held-out fact is shared between training, support, validation and test")
    return 0


def _world(overrides: Sequence[str]) -> dict[str, Any]:
    from harness.spec import config_of

    for text in overrides:
        if "=" not in text:
            raise SpecError(f"{text!r} is not KEY=VALUE", "For example train_scenes=1000 seed=1.")
    # Keys may be written out, as sweep files have them.
    config = config_of("idefics2", SCALE, [PREFIX + text.removeprefix(PREFIX) for text in overrides])
    assert config.data.microworld is not None
    return config.data.microworld.model_dump(mode="json")
