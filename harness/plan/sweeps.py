"""A plan as JSON: what ``harness run`` leaves in ``sweeps/NAME/sweep.json``, and what tables are made from.

The format is the boundary between planning and analysis, and between machines: a table needs this file and the stages
it names, not the sweep file, the weights or the data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, SpecError
from harness.spec.names import NAME_PATTERN
from harness.store import write_bytes

if TYPE_CHECKING:
    from harness.plan.graph import Plan
    from harness.plan.sizes import Sizes
    from harness.spec.claims import Claim, Contrast

FORMAT = 2
FOLDER = "sweeps"
FILE = "sweep.json"


def to_json(plan: Plan, sizes: Sizes) -> dict[str, Any]:
    """The plan as JSON values: the resolved sweep, its runs, its stages with their estimated FLOPs."""
    from harness.spec import identity_part

    sweep = plan.sweep
    return {
        "format": FORMAT,
        "name": sweep.name,
        "question": sweep.question,
        "recipe": sweep.recipe,
        "scale": sweep.scale,
        "digest": sweep.digest,
        "factors": {factor.name: [level.name for level in factor.levels] for factor in sweep.factors},
        "tasks": _common_tasks(plan),
        "seeds": list(sweep.seeds),
        "analysis": identity_part(sweep.analysis),
        "claims": [_claim(claim) for claim in sweep.claims],
        "positive_control": None
        if sweep.positive_control is None
        else {**_contrast(sweep.positive_control.contrast), "benchmark": sweep.positive_control.benchmark},
        "notes": list(sweep.notes),
        "variants": [
            {
                "name": variant.name,
                "levels": dict(variant.levels),
                "baseline": variant.is_baseline,
                "digest": variant.digest,
                "parameters": {
                    "total": sizes.variants[variant.name].parameters,
                    "trainable": sizes.variants[variant.name].trainable,
                },
                "visual_tokens": sizes.variants[variant.name].visual_tokens,
                "train_flops": sizes.variants[variant.name].train_flops,
                "config": identity_part(variant.config),
            }
            for variant in sweep.variants
        ],
        "runs": [
            {
                "variant": run.variant.name,
                "seed": run.seed,
                "features": list(run.features),
                "train": list(run.train),
                "evaluate": dict(run.evaluate),
                **({"curve": {str(step): dict(tasks) for step, tasks in run.curve.items()}} if run.curve else {}),
            }
            for run in plan.runs
        ],
        "stages": [{**stage.to_json(), "flops": sizes.flops[stage_id]} for stage_id, stage in plan.stages.items()],
    }


def sweep_folder(results: Path, name: str) -> Path:
    """The folder of a sweep below the results. Raises ``SpecError`` for a name that would lead elsewhere."""
    if ".." in name or not re.fullmatch(NAME_PATTERN, name):
        raise SpecError(
            f"{name!r} is not the name of a sweep: it would leave the results folder"
            if any(part in name for part in ("/", "\\", ".."))
            else f"{name!r} is not the name of a sweep",
            "Give the name of a sweep that was run, or its YAML file.",
        )
    return results / FOLDER / name


def save(results: Path, name: str, value: Mapping[str, Any]) -> Path:
    """Writes the record of a sweep below the results in one step and returns its path."""
    import orjson

    path = sweep_folder(results, name) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of twenty thousand stages it has 34 MB, and json's way there takes seven times as much memory.
    write_bytes(path, orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return path


def read(path: Path) -> dict[str, Any]:
    """A record as it was saved. Raises ``ValueError`` or ``OSError`` when it is not one."""
    import orjson

    value = orjson.loads(path.read_bytes())
    if not isinstance(value, dict) or not isinstance(value.get("stages"), list):
        raise ValueError("not the record of a sweep")
    return value


def saved_sweeps(results: Path) -> Iterator[dict[str, Any]]:
    """The records of all sweeps that were run here, by name; damaged ones are left out."""
    for path in sorted((results / FOLDER).glob(f"*/{FILE}")):
        try:
            yield read(path)
        except (OSError, ValueError):
            continue


def named_stages(results: Path) -> set[str]:
    """The ids of all stages that the sweeps of a results folder name or read.

    Raises ``HarnessError`` when a record cannot be read: then nobody knows what it names.
    """
    found: set[str] = set()
    for path in sorted((results / FOLDER).glob(f"*/{FILE}")):
        try:
            for stage in read(path)["stages"]:
                found.update((stage["id"], *stage["inputs"].values()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise HarnessError(
                f"{path} cannot be read ({error}), and what it names is not known",
                "Run its sweep again, or remove the file if its results may go.",
            ) from error
    return found


def _common_tasks(plan: Plan) -> list[str]:
    """The tasks that every variant is evaluated on, in the order of the first."""
    first, *others = [run.evaluate for run in plan.runs]
    return [task for task in first if all(task in tasks for tasks in others)]


def _claim(claim: Claim) -> dict[str, Any]:
    return {
        "id": claim.id,
        **_contrast(claim.contrast),
        "between": {factor: list(pair) for factor, pair in claim.between.items()},
        "expect": claim.expect,
        "benchmark": claim.benchmark,
        "bound": claim.bound,
        "cost": claim.cost,
    }


def _contrast(contrast: Contrast) -> dict[str, Any]:
    levels = {factor: list(pair) for factor, pair in contrast.levels.items()}
    return {"contrast": levels, "where": dict(contrast.where)}
