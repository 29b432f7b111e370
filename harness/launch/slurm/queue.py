"""Slurm's queue: one ``squeue`` for everything, ``scancel``, and which stages the jobs in it compute.

Never ``sacct``, but for words (``endings``): many clusters have no accounting, and it lags where there is one.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from harness.errors import HarnessError
from harness.store.batches import Batch, Batches, is_key

TIMEOUT_SECONDS = 90.0  # the controller of a busy cluster is slow to answer
_CANCEL_CHUNK = 500
PREFIX = "harness-"

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

_DENIED = "Access/permission denied"


class QueueUnreachable(HarnessError):
    """Slurm did not answer. This says nothing about any job."""

    def __init__(self, command: str, answer: str) -> None:
        self.answer = answer
        super().__init__(
            f"Slurm did not answer {command}: {answer}",
            "Jobs are not affected. Try again when the controller responds (`sinfo` shows whether it does).",
        )


@dataclass(frozen=True)
class Job:
    """A task of a job array in the queue; ``id`` is ``JOB_TASK``. ``reason`` is why it waits or how it ended.

    ``user`` gave the batch that it belongs to.
    """

    id: str
    name: str
    state: str
    reason: str
    nodes: str
    user: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether it runs or may still run."""
        return self.state not in ENDED

    @property
    def is_stuck(self) -> bool:
        """Whether it waits for something that will not happen."""
        return self.state == "PENDING" and any(word in self.reason for word in _STUCK)

    @property
    def is_orphaned(self) -> bool:
        """Whether Slurm cancelled it because a job that it waited for has failed."""
        return self.state == "CANCELLED" and "Dependency" in self.reason

    @property
    def array(self) -> str:
        """The id of its array."""
        return self.id.partition("_")[0]

    @property
    def task(self) -> int | None:
        """Its number in the array."""
        number = self.id.partition("_")[2]
        return int(number) if number.isdecimal() else None

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason not in ("", "None") else ""
        where = f" on {self.nodes}" if self.nodes and not self.is_alive else ""
        return f"job {self.id} {self.state.lower().replace('_', ' ')}{where}{reason}"


def array_name(title: str, batch: Batch) -> str:
    """The name of the job array of a batch: people find their sweep by it in ``squeue``, we find the batch."""
    return f"{PREFIX}{readable(title)}-{batch.key}"


def readable(title: str) -> str:
    """A title as part of a job's name."""
    return re.sub(r"[^A-Za-z0-9_.]", "-", title)[:40]


def key_of(name: str) -> str | None:
    """The key of the batch that a job's name tells; ``None`` for jobs that are not ours."""
    key = name.rpartition("-")[2]
    return key if name.startswith(PREFIX) and is_key(key) else None


@dataclass(frozen=True)
class Queue:
    """What Slurm knew of a store's jobs at one moment.

    ``by_stage``: the jobs of each stage id, the living first, then the latest; ``arrays``: the job ids of each batch's
    array by its key, more than one when an answer of ``sbatch`` was lost; ``others``: jobs that no batch stands for.
    """

    by_stage: Mapping[str, Sequence[Job]]
    arrays: Mapping[str, Sequence[str]]
    others: Sequence[Job] = ()

    @classmethod
    def ask(cls, batches: Batches) -> Queue:
        """One ``squeue``, for all who have given batches of this store to the cluster.

        Raises ``QueueUnreachable`` when Slurm does not answer, ``HarnessError`` when there is no Slurm.
        """
        by_stage: dict[str, list[Job]] = {}
        arrays: dict[str, dict[str, None]] = {}
        others: list[Job] = []
        whole: list[tuple[Batch, Job]] = []  # of tasks that ended before they ever had an entry of their own

        @cache  # tens of thousands of jobs are of a few arrays
        def batch_of(name: str) -> Batch | None:
            key = key_of(name)
            return batches.get(key) if key else None

        for job in _jobs(_users(batches)):
            batch = batch_of(job.name)
            if batch is None:
                others.append(job)
                continue
            job = Job(job.id, job.name, job.state, job.reason, job.nodes, batch.user)
            arrays.setdefault(batch.key, {})[job.array] = None
            if job.task is None:
                whole.append((batch, job))
            elif job.task in batch.tasks:
                by_stage.setdefault(batch.tasks[job.task], []).append(job)
        for batch, job in whole:
            for number, stage_id in batch.tasks.items():
                known = by_stage.setdefault(stage_id, [])
                if all(each.id != f"{job.array}_{number}" for each in known):
                    known.append(replace(job, id=f"{job.array}_{number}"))
        for jobs in by_stage.values():
            jobs.sort(key=lambda job: (job.is_alive, int(job.array) if job.array.isdecimal() else 0), reverse=True)
        return cls(by_stage, {key: sorted(found, key=int) for key, found in arrays.items()}, others)

    def jobs(self, stage_id: str) -> Sequence[Job]:
        """The jobs of a stage."""
        return self.by_stage.get(stage_id, ())

    def living(self, stage_id: str) -> Job | None:
        """The job that computes a stage or will, unless it waits in vain."""
        return next((job for job in self.jobs(stage_id) if job.is_alive and not job.is_stuck), None)


def _users(batches: Batches) -> list[str]:
    """This user and the others whose jobs work for the same store, as far as this machine knows them."""
    names = {getpass.getuser()}
    for batch in batches:
        with contextlib.suppress(KeyError):
            names.add(pwd.getpwnam(batch.user).pw_name)
    return sorted(names)


def _jobs(users: Sequence[str]) -> list[Job]:
    # Every task of an array on a line of its own.
    form = "--format=%i|%T|%N|%j|%r"
    output = ask("squeue", "--noheader", "--array", "--states=all", f"--user={','.join(users)}", form)
    found = []
    for line in output.splitlines():
        fields = line.split("|", 4)
        if len(fields) == 5:
            number, state, nodes, name, reason = (field.strip() for field in fields)
            found.append(Job(number, name, state, reason, nodes))
    return found


def cancel(jobs: Iterable[str]) -> None:
    """Cancels jobs by id; those that are gone are no error."""
    arrays: dict[str, set[int]] = {}
    for job in jobs:
        array, _, number = job.partition("_")
        arrays.setdefault(array, set()).add(int(number))
    wanted = [f"{array}_[{ranges(numbers)}]" for array, numbers in arrays.items()]
    cancel_whole(wanted)


def cancel_own(jobs: Iterable[Job]) -> list[str]:
    """Cancels those of the jobs that are this user's, and returns their ids: others may share the store."""
    own = [job.id for job in jobs if job.user == getpass.getuser()]
    cancel(own)
    return own


def cancel_whole(jobs: Iterable[str]) -> None:
    """Cancels jobs, with all the tasks they may have, by what ``scancel`` takes for them."""
    wanted = list(jobs)
    for start in range(0, len(wanted), _CANCEL_CHUNK):
        try:
            ask("scancel", "--quiet", *wanted[start : start + _CANCEL_CHUNK])
        except QueueUnreachable as refused:
            if _DENIED not in refused.answer:  # another user's, and theirs to cancel; the rest is cancelled
                raise


def ranges(numbers: Iterable[int]) -> str:
    """Task numbers as Slurm writes them: ``0-3,7``."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


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
    foreign = ("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_", "SQUEUE_", "SCANCEL_", "SACCT_")
    return {name: value for name, value in environment.items() if name == "SLURM_CONF" or not name.startswith(foreign)}


def ask(*command: str, text: str = "", seconds: float = TIMEOUT_SECONDS) -> str:
    """What one of Slurm's commands answers within ``seconds``, given ``text`` to read.

    Raises ``QueueUnreachable`` when it fails or takes too long.
    """
    require(command[0])
    try:
        answer = _run(command, text, seconds)
    except subprocess.TimeoutExpired as error:
        raise QueueUnreachable(command[0], f"nothing for {seconds:.0f} s") from error
    if answer.returncode != 0:
        raise QueueUnreachable(command[0], answer.stderr.strip() or f"exit code {answer.returncode}")
    return answer.stdout


def _run(command: Sequence[str], text: str, seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds,
        env=clean_environment(os.environ),
        check=False,
    )
