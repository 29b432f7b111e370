"""The warden of a run: a job that waits for the end of all its others, and then looks whether anything is missing.

No process has to live for a sweep to finish: what dies with its script (a node, say) is noticed by the warden, which
costs a place in the queue and a few seconds at the end.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from harness.launch.pool import python_path
from harness.launch.slurm import privacy, queue, small
from harness.launch.slurm.job import AGAIN
from harness.launch.slurm.queue import Job, Queue
from harness.launch.slurm.resources import Resources
from harness.launch.slurm.runs import WantedRun

MINUTES = 15
REQUEUE_SECONDS = 30  # between two tries to put itself into the queue again


def name(run: Path) -> str:
    """The name of the warden's job of a run, by the file that records it."""
    root = hashlib.sha256(os.path.realpath(run.parent).encode()).hexdigest()[:8]
    return f"{queue.PREFIX}{queue.readable(run.stem)}-warden-{root}"


def waits(root: Path, title: str, jobs: Iterable[Job]) -> bool:
    """Whether the warden of a run with this title, whoever submitted it to the store at ``root``, is among the jobs."""
    names = {name(folder / f"{title}.jsonl") for folder in (root / "runs").glob("*")}
    return any(job.is_alive and job.name in names for job in jobs)


def waits_for(run: Path, jobs: Iterable[Job]) -> bool:
    """Whether the warden of the run that a file records is among the jobs, and has not begun its look."""
    return any(job.state == "PENDING" and job.name == name(run) for job in jobs)


def post(wanted: WantedRun, run: Path, jobs: Iterable[str], known: Queue, avoided: Iterable[str] = ()) -> str:
    """Submits a warden that waits for these jobs, in the place of an earlier one, and returns its job id.

    It stays away from the nodes that are ``avoided``.
    """
    arrays = sorted({job.partition("_")[0] for job in jobs}, key=int)
    wish = min(wanted.wishes, key=lambda each: (each.gpus or 0, each.cpus or 0))
    options = {
        "job-name": name(run),
        "dependency": "afterany:" + ":".join(arrays),
        "output": str(run.with_suffix(".log")),
        "open-mode": "append",
        "requeue": True,
        "time": str(MINUTES),
    }
    script = [
        *wish.setup,
        *privacy.DEFINITION,
        f"{privacy.condition(wanted.code)} || exit 1",
        f"export PYTHONPATH={shlex.quote(python_path(wanted.code))}",
        healing(run, wish),
        "harness_code=$?",
        # In a full queue a new warden would find no place; this one keeps its own, and Slurm lets it wait for a while.
        f'while [ "$harness_code" = {AGAIN} ]; do scontrol requeue "$SLURM_JOB_ID"; sleep {REQUEUE_SECONDS}; done',
        'exit "$harness_code"',
    ]
    job = small.submit(script, wish.without(list(avoided)), options)
    queue.cancel_whole(each.id for each in known.others if each.name == name(run) and each.state == "PENDING")
    return job


def healing(run: Path, wish: Resources) -> str:
    """The command that goes on with a run."""
    return f"{shlex.join([*python(wish), '-m', 'harness.launch.slurm.healing', str(run)])}"


def python(wish: Resources) -> list[str]:
    """The command that is Python in a job; it imports nothing from the folder that it is started in."""
    return [*(wish.python or (sys.executable,)), "-P"]
