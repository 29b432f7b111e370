"""The data of a stage on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.dataset import Dataset
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.store import Stage


def open_stage_data(stage: Stage) -> Dataset:
    """The data folder of a stage (``location["data"]``), its microworld (``location["world"]``) written first where
    missing. The manifest of another folder may lie in ``location["manifests"]``.

    Raises HarnessError when the folder holds other data than the stage was planned with, or nothing tells what.
    """
    folder = Path(stage.location["data"])
    if "world" in stage.location:
        from harness.data.microworld import ensure

        ensure(json.loads(stage.location["world"]), folder.parent.parent)
        return Dataset.open(folder)
    dataset = Dataset.open(folder, cache=Path(stage.location["manifests"]))
    remedy = "restore the data, or plan again: harness run with the same file"
    if dataset.manifest is None:
        raise HarnessError(f"the manifest of {folder} is gone: what it holds cannot be checked", remedy)
    if not dataset.manifest.digest.startswith(stage.digests["data"]):
        raise HarnessError(f"{folder} holds other data than when {stage} was planned", remedy)
    return dataset
