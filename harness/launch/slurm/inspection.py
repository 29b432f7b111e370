"""What a cluster's settings mean for a sweep: asked of Slurm, without submitting anything (``probe`` does)."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from harness.errors import HarnessError
from harness.launch.slurm import queue
from harness.launch.slurm.resources import Resources
from harness.launch.slurm.sbatch import SIGNAL_SECONDS, QueueFull
from harness.launch.slurm.settings import has_accounting, largest_array, settings
from harness.launch.slurm.trial import try_out

COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
ACCOUNTING_SECONDS = 20.0
OLDEST = (20, 11)  # Slurm's version from which on our way of asking for an array is known to be taken
SHORT_MEMORY = 30  # seconds for which the queue remembers ended jobs, below which a driver may miss why they ended

State = Literal["ok", "note", "fails"]


@dataclass(frozen=True)
class Check:
    """One thing looked at: what it is, what was found, what it means. ``fails``: a sweep would not work."""

    state: State
    what: str
    found: str
    means: str = ""


def inspect(wish: Resources, stages: Mapping[str, Resources] | None = None) -> list[Check]:
    """All that can be asked; ``wish`` is what jobs would ask for, ``stages`` what those of a kind of stage would where
    that differs. Never raises: no Slurm is a check that fails.
    """
    try:
        queue.require(*COMMANDS)
        known = settings()
    except HarnessError as error:
        return [Check("fails", "Slurm", " ".join(error.message.split()), error.remedy)]
    return [
        *_controller(known),
        *_accounting(),
        *_limits(known),
        *_requeue(known, wish),
        *_preemption(known),
        *_times(known),
        *_memory(known),
        *_partitions(wish),
        _taken(wish),
        *_of_stages(stages or {}),
    ]


def _of_stages(stages: Mapping[str, Resources]) -> Iterator[Check]:
    """The partitions that jobs of each kind of stage go to, and whether they are taken there."""
    for kind, wish in stages.items():
        for check in (*_partitions(wish), _taken(wish)):
            if check.means:
                yield replace(check, what=f"{check.what}, {kind}")


def _controller(known: Mapping[str, str]) -> Iterator[Check]:
    version = known.get("SLURM_VERSION", "")
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    old = "tried on 22.05; this one is older than what is known to work" if numbers < OLDEST else ""
    yield Check("note" if old else "ok", "Slurm", version or "of an unknown version", old)
    yield Check("ok", "controller", f"{known.get('ClusterName', '')} answers", "")


def _accounting() -> Iterator[Check]:
    if not has_accounting():
        words = "no sacct; nothing needs it, only why a job ended long ago is not told"
        yield Check("ok", "accounting", "none", words)
        return
    try:
        queue.ask("sacct", "-X", "-n", "-P", "--starttime=now", seconds=ACCOUNTING_SECONDS)
    except HarnessError as error:
        yield Check("note", "accounting", f"configured, sacct fails: {error.message}", "nothing needs it")
    else:
        yield Check("ok", "accounting", "sacct answers", "tells why jobs ended; nothing else depends on it")
    yield from _submit_limits()


def _submit_limits() -> Iterator[Check]:
    """How many jobs this user may have in the queue, by their associations and by QOS."""
    user = f"user={getpass.getuser()}"
    questions = {
        "your accounts": ("assoc", "where", user, "format=Account,Partition,QOS,MaxSubmitJobs,MaxJobs"),
        "limits of QOS": ("qos", "format=Name,MaxSubmitJobsPerUser,MaxJobsPerUser"),
    }
    for what, question in questions.items():
        try:
            answer = queue.ask("sacctmgr", "-n", "-P", "show", *question, seconds=ACCOUNTING_SECONDS)
        except HarnessError:
            continue
        rows = [line.split("|") for line in answer.splitlines() if line]
        shown = [_limits_of(row[:-2], row[-2], row[-1]) for row in rows if len(row) >= 3]
        words = "of more jobs than that the rest is submitted as those end, by a waiting driver"
        limited = any(row[-2] or row[-1] for row in rows if len(row) >= 3)
        if shown:
            yield Check("note" if limited else "ok", what, "; ".join(shown), words if limited else "")


def _limits_of(names: list[str], submitted: str, running: str) -> str:
    limits = [f"{number} {words}" for number, words in ((submitted, "in the queue"), (running, "running")) if number]
    return " ".join([" ".join(filter(None, names)), *([f"({', '.join(limits)})"] if limits else [])])


def _limits(known: Mapping[str, str]) -> Iterator[Check]:
    yield Check("ok", "MaxArraySize", str(largest_array()), "larger arrays are cut")
    yield Check("ok", "MaxJobCount", known.get("MaxJobCount", "?"), "of the whole cluster; a full queue is waited for")


def _requeue(known: Mapping[str, str], wish: Resources) -> Iterator[Check]:
    value = known.get("JobRequeue", "1")
    if not wish.requeue:
        words = "`requeue: false`: what was interrupted is submitted anew"
    elif value == "0":
        words = "jobs ask for it themselves; if your site refuses that, `cluster.requeue: false`"
    else:
        words = "an interrupted job goes into the queue again and resumes"
    yield Check("note" if value == "0" and wish.requeue else "ok", "JobRequeue", value, words)
    for name in ("RequeueExit", "RequeueExitHold"):
        codes = known.get(name, "(null)")
        if codes not in ("(null)", ""):
            words = (
                "jobs that end so are held; release or cancel them" if name.endswith("Hold") else "Slurm repeats them"
            )
            yield Check("note", name, codes, f"{words}; ours end with 0, 1, and as their process did")


def _preemption(known: Mapping[str, str]) -> Iterator[Check]:
    kind, mode = known.get("PreemptType", ""), known.get("PreemptMode", "OFF")
    if kind in ("", "(null)", "preempt/none") or mode == "OFF":
        yield Check("ok", "preemption", "none")
        return
    meanings = {
        "REQUEUE": "a preempted job goes into the queue again and resumes",
        "CANCEL": "a preempted job is submitted anew, by the sweep's warden or a waiting driver, and resumes",
    }
    words = meanings.get(mode, "a suspended job is silent; a waiting driver replaces it after some minutes")
    yield Check("ok" if mode in meanings else "note", "preemption", f"{kind.removeprefix('preempt/')}, {mode}", words)
    warned = "preempt_send_user_signal" in known.get("SlurmctldParameters", "")
    lost = "what was computed since the last checkpoint (`runtime.checkpoint_seconds`) is repeated"
    words = "jobs save a checkpoint when they are warned, if GraceTime allows" if warned else f"no warning: {lost}"
    yield Check("ok", "preempt_send_user_signal", "on" if warned else "off", words)


def _times(known: Mapping[str, str]) -> Iterator[Check]:
    def seconds(name: str) -> int:
        return int((re.findall(r"\d+", known.get(name, "")) or ["0"])[0])

    yield Check(
        "ok", "KillWait", f"{seconds('KillWait')} s", "between Slurm's SIGTERM and SIGKILL; nothing relies on it"
    )
    yield Check(
        "ok",
        "OverTimeLimit",
        known.get("OverTimeLimit", "?"),
        f"nothing relies on it: jobs save and requeue themselves {SIGNAL_SECONDS} s before their limit",
    )
    age = seconds("MinJobAge")
    few = age < SHORT_MEMORY
    words = "the queue forgets ended jobs so soon that their reasons may not be told" if few else "ended jobs are seen"
    yield Check("note" if few else "ok", "MinJobAge", f"{age} s", words)


def _memory(known: Mapping[str, str]) -> Iterator[Check]:
    select = known.get("SelectTypeParameters", "?")
    gathers = "OverMemoryKill" in known.get("JobAcctGatherParams", known.get("JobAcctGatherParam", ""))
    confined = "cgroup" in known.get("TaskPlugin", "") and known.get("ConstrainRAMSpace", "").lower() == "yes"
    counted = "MEMORY" in select.upper()
    if confined or gathers:
        words = "memory_gb is a limit: what exceeds it is ended, and asks for half as much again the next time"
    elif counted:
        words = "memory_gb decides what shares a node; nothing ends a job that takes more, but the kernel"
    else:
        words = "memory_gb is not counted: jobs that share a node can exhaust its memory together"
    yield Check("ok" if counted else "note", "memory", select, words)
    track, task = known.get("ProctrackType", "?"), known.get("TaskPlugin", "?")
    contained = "cgroup" in track
    words = "processes that a job leaves behind are ended" if contained else "processes may outlive their job"
    yield Check("ok", "ProctrackType, TaskPlugin", f"{track.removeprefix('proctrack/')}, {task}", words)


def _partitions(wish: Resources) -> Iterator[Check]:
    try:
        lines = queue.ask("sinfo", "--noheader", "--format=%P|%a|%l|%F|%m|%c|%G").splitlines()
        details = queue.ask("scontrol", "--oneliner", "show", "partition").splitlines()
    except HarnessError as error:
        yield Check("fails", "partitions", error.message, error.remedy)
        return
    options = {pairs["PartitionName"]: pairs for line in details if (pairs := _pairs(line))}
    names = set()
    for line in lines:
        fields = line.split("|")
        if len(fields) != 7:
            continue
        name, available, limit, counts, memory, cpus, gpus = fields
        names.add(name.rstrip("*"))
        yield _partition(wish, name, available, limit, counts, memory, cpus, gpus, options.get(name.rstrip("*"), {}))
    if wish.partition and not set(wish.partition.split(",")) <= names:
        yield Check("fails", "partition", f"{wish.partition} does not exist", f"known: {', '.join(sorted(names))}")


def _partition(
    wish: Resources,
    name: str,
    available: str,
    limit: str,
    counts: str,
    memory: str,
    cpus: str,
    gpus: str,
    options: Mapping[str, str],
) -> Check:
    used, idle, other, _ = (int(count) for count in counts.split("/"))
    default = options.get("DefMemPerNode") or options.get("DefMemPerCPU")
    parts = [
        f"{available}, {used + idle} nodes up" + (f", {other} down or drained" if other else ""),
        f"{cpus} CPUs, {memory} MB" + ("" if gpus in ("(null)", "") else f", {gpus}") + " each",
        f"default memory {default} MB" if default and default.isdecimal() else "",
        f"GraceTime {options['GraceTime']} s" if options.get("GraceTime", "0") != "0" else "",
        f"time limit {limit}",
    ]
    found = ", ".join(filter(None, parts))
    asked = name.rstrip("*") in wish.partition.split(",") if wish.partition else name.endswith("*")
    minutes = _minutes(limit)
    if asked and available != "up":
        return Check("fails", f"partition {name}", found, "it takes no jobs now")
    if asked and minutes is not None and minutes < wish.time_minutes:
        return Check(
            "fails", f"partition {name}", found, f"jobs ask for {wish.time_minutes} minutes: lower time_minutes"
        )
    if asked and used + idle == 0:
        return Check("note", f"partition {name}", found, "jobs wait until a node is up")
    return Check("ok", f"partition {name}", found, "where jobs go" if asked else "")


def _taken(wish: Resources) -> Check:
    """Whether Slurm would take a job with all that ``wish`` asks for: account, QOS, GPUs, memory, time."""
    asked = {
        "partition": wish.partition,
        "account": wish.account,
        "qos": wish.qos,
        "memory_gb": wish.memory_gb,
        "cpus": wish.cpus,
        "gpus": wish.gpus and " ".join(filter(None, (str(wish.gpus), wish.gpu_type))),
        "time_minutes": wish.time_minutes,
    }
    told = {name: f"{value:g}" if isinstance(value, float) else value for name, value in asked.items()}
    words = ", ".join(f"{name} {value}" for name, value in told.items() if value)
    try:
        try_out(wish)
    except (QueueFull, queue.QueueUnreachable) as error:
        return Check("note", "what jobs ask for", words, error.message)
    except HarnessError as error:
        return Check("fails", "what jobs ask for", words, error.message)
    return Check("ok", "what jobs ask for", words, "Slurm would take such a job")


def _pairs(line: str) -> dict[str, str]:
    found = dict(word.partition("=")[::2] for word in line.split() if "=" in word)
    return found if "PartitionName" in found else {}


def _minutes(limit: str) -> float | None:
    """Slurm's ``days-hours:minutes:seconds`` in minutes; ``None`` for no limit."""
    days, dash, clock = limit.rpartition("-")
    if not re.fullmatch(r"[\d:]+", clock):
        return None
    parts = [int(part) for part in clock.split(":")]
    hours, minutes, seconds = ([0, *parts] if len(parts) == 2 else parts) if len(parts) > 1 else [0, parts[0], 0]
    return (int(days) * 24 * 60 if dash else 0) + hours * 60 + minutes + seconds / 60
