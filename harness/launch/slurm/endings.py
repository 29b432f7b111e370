"""How jobs ended that the queue has forgotten: words for people, and whether memory was what they wanted for.

``squeue`` shows ended jobs for a while (``MinJobAge``), with all that ``scontrol show job`` knows and for many jobs at
once. After that there is ``sacct`` where a cluster has accounting, and what Slurm wrote into the log of the job. What
has to be computed is never decided here: without an answer a job is just gone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from harness.errors import HarnessError
from harness.launch.execution import log_tail
from harness.launch.slurm import queue
from harness.launch.slurm.queue import Job, Queue
from harness.launch.slurm.sbatch import job_log
from harness.launch.slurm.settings import has_accounting
from harness.store.batches import Batch, Batches

TIMEOUT_SECONDS = 20.0  # for words only, so nobody waits long
SILENT_SECONDS = 600.0  # for so long ``sacct`` is left alone after it has failed
_CHUNK = 500

_FIELDS = ("JobID", "JobName", "State", "ExitCode", "NodeList", "Reason")
_MARK = re.compile(r"\*\*\* JOB \S+ ON (\S+) CANCELLED AT \S+(?: DUE TO ([A-Z ]+?))? \*\*\*")
_MARKS = {None: "CANCELLED", "TIME LIMIT": "TIMEOUT", "PREEMPTION": "PREEMPTED", "NODE FAILURE": "NODE_FAIL"}


class _Silence:
    """Until when ``sacct`` is not asked, on this process's own clock."""

    until = 0.0


def recall(known: Queue, batches: Batches, stage_ids: Collection[str]) -> Queue:
    """The queue, with the ends of those jobs of the given stages that it has forgotten, as far as they are known.

    At most one ``sacct`` for some hundred arrays, and none where every job is still in the queue. Never raises.
    """
    gone = {
        (batch.key, job): (stage_id, batch)
        for stage_id, given in batches.jobs().items()
        if stage_id in stage_ids
        for batch, job in given
        if batch.job and all(each.id != job for each in known.jobs(stage_id))
    }
    if not gone:
        return known
    found = {(queue.key_of(job.name) or "", job.id): job for job in _accounted({job for _, job in gone})}
    by_stage = {stage_id: list(jobs) for stage_id, jobs in known.by_stage.items()}
    for (key, job), (stage_id, batch) in gone.items():
        ended = found.get((key, job)) or _logged(batch, job)
        if ended is not None:
            by_stage.setdefault(stage_id, []).append(ended)
    return replace(known, by_stage=by_stage)


def _accounted(jobs: Collection[str]) -> list[Job]:
    """What ``sacct`` says of jobs that have ended; nothing without accounting."""
    if time.monotonic() < _Silence.until:
        return []
    found = []
    try:
        if not has_accounting():
            return []
        arrays = sorted({job.partition("_")[0] for job in jobs})
        for start in range(0, len(arrays), _CHUNK):
            asked = f"--jobs={','.join(arrays[start : start + _CHUNK])}"
            form = f"--format={','.join(_FIELDS)}"
            answer = queue.ask("sacct", "-X", "-n", "-P", asked, form, seconds=TIMEOUT_SECONDS)
            found += [job for job in _read(answer.splitlines()) if job.id in jobs and not job.is_alive]
    except HarnessError:  # away, slow, or not installed here
        _Silence.until = time.monotonic() + SILENT_SECONDS
    return found


def _read(lines: Iterable[str]) -> list[Job]:
    found = []
    for line in lines:
        fields: Sequence[str] = line.split("|")
        if len(fields) == len(_FIELDS):
            number, name, told, code, nodes, reason = fields
            state, _, who = told.partition(" ")  # "CANCELLED by 1000"
            why = [part for part in (_user(who), "" if reason == "None" else reason, _exit(state, code)) if part]
            found.append(Job(number, name, state, ", ".join(why), "" if nodes == "None assigned" else nodes))
    return found


def _user(who: str) -> str:
    return f"by user {who.removeprefix('by ')}" if who.startswith("by ") else ""


def _exit(state: str, code: str) -> str:
    number, _, signal = code.partition(":")
    if state != "FAILED":
        return ""
    return f"signal {signal}" if signal not in ("", "0") else f"exit code {number}"


def _logged(batch: Batch, job: str) -> Job | None:
    """What Slurm wrote last into a job's log; a job that was started again afterwards may have ended otherwise."""
    marks = list(_MARK.finditer(log_tail(job_log(batch, job))))
    if not marks or marks[-1][2] not in _MARKS:
        return None
    return Job(job, queue.array_name("", batch), _MARKS[marks[-1][2]], "by its log", marks[-1][1])
