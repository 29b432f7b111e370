"""Nodes on which a run's jobs keep dying, and that its further jobs stay away from.

A job's script notes each end beside its pickle, in one file a batch: task, node, and how. A node is left out when two
stages or more have died there that have died nowhere else (or it is the stage), and none was finished there. What is
noted counts for a day; never more than half of a partition's nodes are left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta

from harness.errors import HarnessError
from harness.launch.slurm import queue
from harness.launch.slurm.queue import Queue
from harness.launch.slurm.resources import Resources
from harness.store import Store
from harness.store.batches import Batch, Batches

STAGES = 2  # that died on a node before it is left out
MEMORY = timedelta(days=1)
SHARE = 0.5  # of a partition's nodes that may be left out
ENDS = "ends"
"""The file in a batch's private folder: a line for each end of a job that its script has seen."""

FINISHED, FAILED, LATER, DIED = "finished", "failed", "later", "died"
"""How: the stage is done, or has failed by itself; the job goes on in another one; anything else is no good sign."""

_DIED = ("FAILED", "NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED")


def suspects(batches: Batches, known: Queue, stage_ids: AbstractSet[str]) -> dict[str, int]:
    """Nodes on which jobs of these stages keep dying, with the number of stages: the worst first."""
    died: dict[str, set[str]] = {}
    whole: set[str] = set()
    noted: set[str] = set()  # jobs whose script came to its end
    for batch in batches:
        if not _is_recent(batch) or stage_ids.isdisjoint(batch.tasks.values()):
            continue
        for task, node, how in _ends(batch):
            noted.add(f"{batch.job}_{task}")
            if how == FINISHED:
                whole.add(node)
            elif how == DIED and task in batch.tasks:
                died.setdefault(node, set()).add(batch.tasks[task])
        # A node that took the script along, or on which it could not even begin.
        for task, stage_id in batch.tasks.items():
            for job in known.jobs(stage_id):
                if job.id == f"{batch.job}_{task}" and job.id not in noted and job.state in _DIED and job.nodes:
                    died.setdefault(job.nodes, set()).add(stage_id)
    found = {}
    for node, stages in died.items():
        elsewhere = set().union(*(others for other, others in died.items() if other != node))
        if node not in whole and len(stages - elsewhere) >= STAGES:
            found[node] = len(stages - elsewhere)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def left_out(store: Store, stage_ids: AbstractSet[str]) -> list[str]:
    """Which nodes further jobs of these stages would stay away from, and why. Asks the queue, if there were jobs."""
    batches = Batches(store.root)
    known = Queue({}, {})
    if any(not stage_ids.isdisjoint(batch.tasks.values()) for batch in batches):
        with contextlib.suppress(HarnessError):
            known = Queue.ask(batches)
    return [reason(node, stages) for node, stages in suspects(batches, known, stage_ids).items()]


def reason(node: str, stages: int) -> str:
    """Why a node is left out."""
    return f"{node} is left out: {stages} stages have died there and none was finished"


def avoiding(wish: Resources, suspected: Mapping[str, int], partition: Sequence[str]) -> Resources:
    """The wish, with suspected nodes of its partition left out, the worst first, up to half of them."""
    room = int(len(partition) * SHARE) - sum(node in wish.exclude for node in partition)
    worst = [node for node in suspected if node in partition and node not in wish.exclude][: max(0, room)]
    return wish.without(worst)


def of_partition(partition: str | None) -> list[str]:
    """The names of a partition's nodes, of the default one without a name; none when Slurm does not say."""
    try:
        answer = queue.ask("sinfo", "--noheader", "--Node", "--format=%N %P")
    except HarnessError:
        return []
    pairs = (line.split() for line in answer.splitlines())
    return sorted(
        pair[0]
        for pair in pairs
        if len(pair) == 2 and (pair[1].rstrip("*") == partition if partition else pair[1].endswith("*"))
    )


def _is_recent(batch: Batch) -> bool:
    try:
        return datetime.now(UTC) - datetime.fromisoformat(batch.created) < MEMORY
    except (ValueError, TypeError):
        return False


def _ends(batch: Batch) -> Iterable[tuple[int, str, str]]:
    try:
        lines = (batch.private / ENDS).read_text(errors="replace").splitlines()
    except OSError:  # none has ended, or the batch is another user's
        return
    for line in lines:
        fields = line.split()  # several nodes write at once: what is no line is left out
        if len(fields) == 3 and fields[0].isdecimal():
            yield int(fields[0]), fields[1], fields[2]
