"""Slurm's queue: one ``squeue`` for everything, ``scancel``, and names by which jobs are found again.

Never ``sacct``: many clusters have no accounting, and it lags where there is one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import HarnessError
from harness.store import Stage, Store

TIMEOUT_SECONDS = 90  # the controller of a busy cluster is slow to answer
_CANCEL_CHUNK = 500

# States of jobs that will not run again by themselves. Any other, also one that a later Slurm invents, counts as alive:
# to take a living job for dead would have its work started twice.
ENDED = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "LAUNCH_FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "RECONFIG_FAIL",
        "REVOKED",
        "TIMEOUT",
    }
)
# Reasons for which a pending job will never start unless somebody steps in.
_STUCK = ("DependencyNeverSatisfied", "launch failed requeued held", "launch_failed_requeued_held", "BadConstraints")


class QueueUnreachable(HarnessError):
    """Slurm did not answer. This says nothing about any job."""

    def __init__(self, command: str, answer: str) -> None:
        super().__init__(
            f"Slurm did not answer {command}: {answer}",
            "Jobs are not affected. Try again when the controller responds (`sinfo` shows whether it does).",
        )


@dataclass(frozen=True)
class Job:
    """A job in the queue. ``reason`` is why it waits or how it ended."""

    id: str
    name: str
    state: str
    reason: str
    nodes: str

    @property
    def is_alive(self) -> bool:
        """Whether it runs or may still run."""
        return self.state not in ENDED

    @property
    def is_stuck(self) -> bool:
        """Whether it waits for something that will not happen."""
        return self.state == "PENDING" and any(word in self.reason for word in _STUCK)

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason not in ("", "None") else ""
        return f"job {self.id} {self.state.lower().replace('_', ' ')}{reason}"


def job_name(store: Store, stage: Stage) -> str:
    """The name of the jobs of a stage. It is known before the job is, so that a submission that was cut off between
    ``sbatch`` and the record of its answer is found in the queue; another store on the same cluster has other names.
    """
    root = hashlib.sha256(os.path.realpath(store.root).encode()).hexdigest()[:8]
    return f"harness-{stage.id}-{root}"


def jobs_by_name() -> dict[str, list[Job]]:
    """All of the user's jobs that Slurm still knows, the latest of a name first.

    Raises ``QueueUnreachable`` when Slurm does not answer, ``HarnessError`` when there is no Slurm.
    """
    output = _ask("squeue", "--noheader", "--states=all", f"--user={os.getuid()}", "--format=%i|%T|%N|%j|%r")
    found: dict[str, list[Job]] = {}
    for line in output.splitlines():
        fields = line.split("|", 4)
        if len(fields) == 5:
            number, state, nodes, name, reason = (field.strip() for field in fields)
            found.setdefault(name, []).append(Job(number, name, state, reason, nodes))
    for jobs in found.values():
        jobs.sort(key=lambda job: (job.is_alive, int(job.id) if job.id.isdecimal() else 0), reverse=True)
    return found


def cancel(jobs: Iterable[str]) -> None:
    """Cancels jobs by id; those that are gone are no error."""
    identifiers = list(jobs)
    for start in range(0, len(identifiers), _CANCEL_CHUNK):
        _ask("scancel", "--quiet", *identifiers[start : start + _CANCEL_CHUNK])


def require(*commands: str) -> None:
    """Raises ``HarnessError`` unless Slurm's commands are there."""
    for command in commands:
        if shutil.which(command) is None:
            raise HarnessError(
                f"Slurm's {command} was not found on this machine.",
                "Submit from a login node of the cluster, or run without `--cluster slurm`.",
            )


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what a Slurm job that this process may run in has put there, and without filters for
    ``squeue``. ``SLURM_CONF`` stays, and so do the user's defaults for ``sbatch``.
    """
    foreign = ("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_", "SQUEUE_", "SCANCEL_")
    return {name: value for name, value in environment.items() if name == "SLURM_CONF" or not name.startswith(foreign)}


def _ask(*command: str) -> str:
    require(command[0])
    try:
        answer = _run(command)
    except subprocess.TimeoutExpired as error:
        raise QueueUnreachable(command[0], f"nothing for {TIMEOUT_SECONDS} s") from error
    if answer.returncode != 0:
        raise QueueUnreachable(command[0], answer.stderr.strip() or f"exit code {answer.returncode}")
    return answer.stdout


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = clean_environment(os.environ)
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_SECONDS, env=environment, check=False
    )
