"""Where a result came from: recorded with every attempt, never part of an identity.

Imports what it asks inside the functions: the command line starts in a fraction of a second.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import harness

# What can change the last bits of a result, or its meaning.
PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "peft",
    "accelerate",
    "safetensors",
    "lm-eval",
    "pycocoevalcap",
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "pillow",
    "webdataset",
)
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def provenance() -> dict[str, Any]:
    """Versions, host and threads of this process, as JSON values. Imports none of the packages it names."""
    import platform

    threads: dict[str, Any] = {name: os.environ[name] for name in THREADS if name in os.environ}
    torch = sys.modules.get("torch")
    if torch is not None:
        threads["torch"] = torch.get_num_threads()
    return {
        "harness": harness.__version__,
        "git": _git(),
        "python": platform.python_version(),
        "packages": _versions(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": threads,
    }


def core_seconds() -> tuple[float, float]:
    """Processor time used so far by this process, and by the children it has collected."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    from importlib import metadata

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@lru_cache(maxsize=1)
def _git() -> dict[str, Any] | None:
    """Commit of the checkout that the package runs from, and whether tracked files differ from it."""
    import subprocess

    checkout = Path(harness.__file__).resolve().parent.parent
    if not (checkout / ".git").exists():
        return None  # an installed package; the repository around a virtual environment is somebody else's
    try:
        commit = _ask_git(checkout, "rev-parse", "HEAD")
        changed = _ask_git(checkout, "status", "--porcelain", "--untracked-files=no", "--", "harness")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "changed": bool(changed)}


def _ask_git(checkout: Path, *arguments: str) -> str:
    import subprocess

    command = ["git", "-C", str(checkout), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()


@lru_cache(maxsize=1)
def _processor() -> str:
    import platform

    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
