"""What has to be there before stages run: worlds and indices of data, and models of the hub.

Jobs on a cluster's compute nodes have no network and should not all write the same files: ``harness data prepare`` and
``harness models fetch`` do it where there is one, ``harness run`` does the first by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.cli.live import generating
from harness.cli.planning import Prospect, look_ahead, make_plan
from harness.launch.pool import available_cores
from harness.plan import cache_folder
from harness.report.quantities import count
from harness.spec import load
from harness.store import Store


def prepare(files: Sequence[Path], overrides: Sequence[str], results: Path) -> int:
    """Writes and checks the data of sweeps, as far as their stages are not done."""
    for file in files:
        prospect = look_ahead(make_plan(file, overrides), Store(results))
        prepare_data(prospect, available_cores())
        folders = {stage.location["data"] for stage in prospect.plan.stages.values() if "data" in stage.location}
        ready = ", ".join(sorted(folders)) if prospect.remaining() else "nothing left to compute"
        print(f"{prospect.plan.sweep.name}: {ready}")
    return 0


def fetch(files: Sequence[Path], overrides: Sequence[str]) -> int:
    """Brings every model of the hub that sweeps name into the local cache, each once."""
    from harness.plan.fetching import fetch_model
    from harness.plan.needs import named_models
    from harness.plan.weights import is_hub_id

    names = dict.fromkeys(name for file in files for name in named_models(load(file, overrides)) if is_hub_id(name))
    for name in names:
        found = fetch_model(name)
        size = sum(path.stat().st_size for path in found.directory.rglob("*") if path.is_file())
        print(f"{name}: commit {found.digest[:12]}, {size / 1e6:,.1f} MB in {found.directory}")
    if not names:
        print(f"{count(len(files), 'sweep')}: no model of the hub is named")
    return 0


def prepare_data(prospect: Prospect, processes: int) -> None:
    """Writes the microworlds that unfinished stages read and that are not in the cache yet."""
    for world in _worlds(prospect):
        from harness.data.microworld import cached_world, ensure

        folder = cached_world(world, cache_folder())
        if not folder.exists():
            with generating(folder, processes) as progress:
                ensure(world, cache_folder(), progress, processes)
    _check_folders(prospect)


def _check_folders(prospect: Prospect) -> None:
    """Reads the annotations that unfinished evaluations of a user's own data need: a mistake there is best told now.

    Raises ``HarnessError`` for files that are missing or malformed, and for an annotation without its picture.
    """
    from harness.data.dataset import Dataset

    wanted: set[tuple[str, str, str]] = set()
    for stage_id in prospect.remaining():
        stage = prospect.plan.stages[stage_id]
        if stage.kind == "evaluate" and "world" not in stage.location:
            wanted.update((stage.location["data"], stage.config["task"], pool) for pool in _pools(stage.config))
    datasets: dict[str, Dataset] = {}
    for folder, task, pool in sorted(wanted):
        dataset = datasets.setdefault(folder, Dataset.open(Path(folder), cache=cache_folder()))
        dataset.examples(task, pool)


def _pools(config: Mapping[str, Any]) -> list[str]:
    return [config["split"], *(["support"] if config["shots"] else [])]


def _worlds(prospect: Prospect) -> Iterator[dict[str, Any]]:
    texts = (prospect.plan.stages[stage_id].location.get("world") for stage_id in prospect.remaining())
    for text in dict.fromkeys(texts):
        if text:
            yield json.loads(text)
