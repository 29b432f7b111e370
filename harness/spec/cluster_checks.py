"""What must hold of the section ``cluster``, in a sweep and in a profile alone: who may set its commands, and which
options are ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from harness.spec.compose import FILE_LAYER, Composition
from harness.spec.finding import Finding
from harness.spec.messages import add_violations, at
from harness.spec.place import Origins, Path, dotted
from harness.spec.profiles import SECTION, load_profile
from harness.spec.report import Report, shown
from harness.spec.schema.execution import OF_A_STAGE, RUNS_SHELL, ClusterConfig, JobConfig

_NAME = re.compile(r"[a-z][a-z-]{1,39}")

_OURS: Mapping[str, str] = {
    "account": "account",
    "cpus-per-task": "cpus",
    "exclude": "exclude",
    "gpus": "gpus",
    "gpus-per-node": "gpus",
    "gpus-per-socket": "gpus",
    "gpus-per-task": "gpus",
    "mem": "memory_gb",
    "no-requeue": "requeue",
    "partition": "partition",
    "qos": "qos",
    "requeue": "requeue",
    "time": "time_minutes",
}
"""Options that have a key of their own."""

_KEPT = frozenset(
    {
        *("array", "chdir", "comment", "dependency", "error", "export", "job-name", "kill-on-invalid-dep", "nodes"),
        *("ntasks", "ntasks-per-node", "open-mode", "output", "parsable", "signal", "test-only", "wrap"),
    }
)
"""Options that the harness sets itself."""


def cluster_of_profile(name: str) -> ClusterConfig:
    """The section as a profile has it, without a sweep. Raises ``SpecError`` with everything that is wrong in it."""
    document = load_profile(name)
    locate, report = at(Origins([document.marks], document.top)), Report()
    try:
        cluster = ClusterConfig.model_validate(document.value.get(SECTION, {}))
    except ValidationError as error:
        add_violations(report, error, (SECTION,), locate)
    else:
        for finding in check_cluster(cluster):
            report.add(finding.message, *locate((SECTION, *finding.path), finding.of_key), finding.remedy)
    report.raise_if_any()
    return cluster


def check_cluster(cluster: ClusterConfig) -> Iterator[Finding]:
    """Options of ``sbatch``: their form, and that none is set elsewhere. Paths start at the section."""
    given: list[tuple[Path, Mapping[str, object]]] = [(("sbatch",), cluster.sbatch)]
    given += [(("stages", kind, "sbatch"), job.sbatch) for kind, job in cluster.stages.items()]
    for path, options in given:
        for name, value in options.items():
            if not _NAME.fullmatch(name):
                message = f"{shown(name)} is no long name of an option"
                yield Finding((*path, name), message, "write it as in `man sbatch`, without --", of_key=True)
            elif not isinstance(value, str | int | float) or not str(value).isprintable():
                message = f"expected one line of text, a number, true or false, found {shown(value)}"
                yield Finding((*path, name), message, "write the option's value; true where it has none")
            elif name in _OURS:
                remedy = f"write {_OURS[name]}"
                yield Finding((*path, name), f"the option {name} has a key of its own", remedy, of_key=True)
            elif _asks_for_gpus(name, value):
                message = f"GPUs have a key of their own, by which they are counted, found {name}: {shown(value)}"
                yield Finding((*path, name), message, "write gpus, and gpu_type for their model", of_key=True)
            elif name in _KEPT:
                yield Finding((*path, name), f"the harness sets the option {name} itself", "remove it", of_key=True)


def _asks_for_gpus(name: str, value: object) -> bool:
    """``gpu:a100:4`` of ``gres``, ``gres/gpu:4`` of the options that name trackable resources."""
    return name.startswith(("gres", "tres")) and re.search(r"(^|[,/:])gpu([:=,]|$)", str(value)) is not None


def check_who_sets_commands(composition: Composition, report: Report) -> None:
    """A sweep file may come from a stranger: what runs, and where is written to, is not for it to say."""
    for path, mark in composition.origins.layers[FILE_LAYER].items():
        if path[:1] != ("cluster",):
            continue
        job = path[3:] if path[1:2] == ("stages",) else path[1:]  # the key, below a kind of stage too
        if len(job) == 1 and job[0] in RUNS_SHELL:
            name = dotted(path)
            remedy = f"put it into a profile of your cluster (`--cluster NAME`), or give it with the command: {name}=…"
            report.add(f"a sweep file does not say what a cluster runs ({job[0]})", mark.key, path, remedy)
        elif not job and not mark.is_mapping:
            report.add("expected keys, found a value or a reference", mark.value, path, "write the keys themselves")


def may_vary(path: Path) -> bool:
    """Whether a level may set a key of ``cluster`` or ``runtime`` beside those that make its difference."""
    if path[0] == "runtime":
        return len(path) == 2 and path[1] in OF_A_STAGE
    job = path[3:] if path[1:2] == ("stages",) else path[1:]
    return len(job) == 1 and job[0] in JobConfig.model_fields and job[0] not in RUNS_SHELL
