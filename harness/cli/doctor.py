"""``harness doctor``: what this machine has, what is missing, and what the missing is needed for."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import harness
from harness.cli.entry import ERROR
from harness.launch.pool import available_cores
from harness.plan.cache import cache_folder
from harness.report.layout import columns

CONSTRAINTS = Path(harness.__file__).parents[1] / "constraints.txt"
MEMORY_GB, DISK_GB = 4.0, 2.0
PROGRAMS = (
    ("C compiler", ("cc", "gcc", "clang"), "torch.compile, which makes training somewhat faster where it helps"),
    ("Java", ("java",), "the original PTB tokeniser; ours in Python is the default"),
    ("Slurm", ("sbatch", "srun", "squeue", "scancel"), "harness run --cluster slurm"),
    ("NVIDIA driver", ("nvidia-smi",), "training on a GPU; the micro scale needs none"),
)

State = Literal["ok", "note", "missing"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ``missing`` keeps the harness from working, ``note`` only limits what it can do."""

    state: State
    what: str
    found: str
    needed_for: str = ""


def examine(results: Path, as_json: bool) -> int:
    """Prints all findings; the exit code is 1 when something that is always needed is missing."""
    findings = [*_python(), *_packages(), *_machine(), *_folders(results), *_programs(), *_zoo()]
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    else:
        rows = []
        for finding in findings:
            needed = f"needed for {finding.needed_for}" if finding.needed_for and finding.state != "ok" else ""
            rows.append((finding.state, finding.what, finding.found, needed))
        print("\n".join(columns(rows)))
    return ERROR if any(finding.state == "missing" for finding in findings) else 0


def _python() -> Iterator[Finding]:
    yield Finding("ok", "harness", f"{harness.__version__} in {Path(harness.__file__).parent}")
    yield Finding("ok", "Python", f"{platform.python_version()} on {platform.platform(terse=True)}")


def _packages() -> Iterator[Finding]:
    """Every package the harness names, held against the versions known to work together."""
    pinned = _pinned()
    try:
        wanted = metadata.requires("harness") or []
    except metadata.PackageNotFoundError:
        yield Finding("note", "packages", "the harness is not installed, it runs from a folder", "`pip install -e .`")
        wanted = []
    good = 0
    for text in wanted:
        if "extra ==" in text:
            continue
        name = re.split(r"[\s<>=!~;\[(]", text, maxsplit=1)[0]
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding("missing", name, "not installed", "everything; install the package again")
            continue
        expected = pinned.get(_normal(name))
        if expected is not None and version.split("+")[0] != expected:
            yield Finding("note", name, f"{version}, known to work: {expected}", "results that equal those of others")
        else:
            good += 1
    if good:
        against = " as in constraints.txt" if pinned else ", constraints.txt is not here to compare with"
        yield Finding("ok", "packages", f"{good} installed{against}")


def _pinned() -> dict[str, str]:
    try:
        lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.split("#")[0].strip().partition("==") for line in lines)
    return {_normal(name): version.split(";")[0].strip() for name, equals, version in pairs if equals}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _machine() -> Iterator[Finding]:
    cores = available_cores()
    yield Finding("ok", "cores", f"{cores} available to this process")
    memory = _memory_gb()
    if memory is not None:
        state: State = "ok" if memory >= MEMORY_GB else "note"
        yield Finding(
            state, "memory", f"{memory:.1f} GB available", f"{MEMORY_GB:g} GB: two workers of the micro scale"
        )


def _memory_gb() -> float | None:
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return None
    found = re.search(r"MemAvailable:\s+(\d+) kB", text)
    return int(found[1]) * 1024 / 1e9 if found else None


def _folders(results: Path) -> Iterator[Finding]:
    for what, folder in (("results", results.absolute()), ("cache", cache_folder())):
        there = next(path for path in (folder, *folder.parents) if path.is_dir())
        if not os.access(there, os.W_OK):
            yield Finding("missing", f"{what} folder", f"{folder} cannot be written", "keeping what was computed")
            continue
        free = shutil.disk_usage(there).free / 1e9
        state: State = "ok" if free >= DISK_GB else "note"
        yield Finding(
            state, f"{what} folder", f"{folder}, {free:,.1f} GB free", f"{DISK_GB:g} GB of features and models"
        )
        if what == "results" and not _has_hard_links(there):
            yield Finding("missing", "hard links", f"not on the file system of {folder}", "the store's leases")


def _has_hard_links(folder: Path) -> bool:
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".harness-doctor-") as place:
            first = Path(place) / "first"
            first.write_bytes(b"")
            os.link(first, Path(place) / "second")
            return os.stat(first).st_nlink == 2
    except OSError:
        return False


def _programs() -> Iterator[Finding]:
    for what, names, needed_for in PROGRAMS:
        found = [path for name in names if (path := shutil.which(name))]
        complete = len(found) == len(names) if what == "Slurm" else bool(found)
        if complete:
            yield Finding("ok", what, found[0])
        else:
            yield Finding("note", what, "not found", needed_for)


def _zoo() -> Iterator[Finding]:
    from harness.errors import HarnessError
    from harness.plan.weights import Backbones
    from harness.spec import ZOO

    backbones = Backbones()
    absent = []
    for name in ZOO:
        try:
            backbones.resolve(f"zoo/{name}")
        except HarnessError:
            absent.append(name)
    if absent:
        yield Finding("missing", "zoo", f"without {', '.join(absent)}", "the micro scale; install the package again")
    else:
        yield Finding("ok", "zoo", f"{len(ZOO)} backbones")
