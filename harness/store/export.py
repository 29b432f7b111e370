"""A part of a store as a store of its own, small enough to be mailed: results without the weights that gave them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from harness.errors import HarnessError
from harness.store import atomic, record
from harness.store.store import Store


def export(source: Store, stage_ids: Iterable[str], target: Path, is_kept: Callable[[str], bool]) -> list[str]:
    """Copies finished stages into the store at ``target``, of their outputs only those that ``is_kept`` (by name).

    Paths and the name of this machine are left out; a stage that is there already is left alone. Returns the ids that
    were copied; stages that are not finished are passed over. The folder can be merged into another results folder by
    copying it over. Raises ``DamagedStage`` when a stage is not what was written.
    """
    copied = []
    for stage_id in stage_ids:
        found = source.record(stage_id)
        if found is None:
            continue
        stage = replace(source.stage(stage_id), location={})
        folder = target / "stages" / stage.kind / stage.name
        if (folder / record.NAME).exists():
            continue
        outputs = source.outputs(stage_id)
        kept = {name: output for name, output in found.outputs.items() if is_kept(name)}
        with atomic.storing(folder):
            for name in kept:
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(outputs.path(name), path)
            folder.mkdir(parents=True, exist_ok=True)
            atomic.write_json(folder / "stage.json", stage.to_json())
            left = {name: output for name, output in found.outputs.items() if name not in kept}
            provenance = {key: value for key, value in found.provenance.items() if key != "host"}
            record.write(
                folder, replace(found, outputs=kept, left_out={**found.left_out, **left}, provenance=provenance)
            )
        copied.append(stage_id)
    if not copied and not (target / "stages").is_dir():
        raise HarnessError("Nothing of this sweep is finished.", "Run it first.")
    return copied
