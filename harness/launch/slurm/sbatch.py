"""Puts a batch into the queue as a job array, through submitit.

submitit is the transport and nothing else: its pickle carries a path, its results are never read, its idea of a job's
state (from ``sacct``) is never asked. What has happened is in the store; what may still happen is in ``squeue``.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from harness.errors import HarnessError
from harness.launch.execution import log_tail
from harness.launch.pool import python_path, thread_environment
from harness.launch.slurm import privacy, queue, warden
from harness.launch.slurm.job import AGAIN, CRASHES, ENDED, PROCESS, WAITING, WISHES, StageJob
from harness.launch.slurm.nodes import DIED, ENDS, FAILED, FINISHED, LATER
from harness.launch.slurm.queue import QueueUnreachable
from harness.launch.slurm.resources import Resources
from harness.launch.slurm.runs import WantedRun
from harness.launch.slurm.staging import SCRATCH
from harness.launch.slurm.tasks import MEETING
from harness.store.atomic import storing
from harness.store.batches import Batch

SIGNAL_SECONDS = 120  # before the time limit, for the executor's last checkpoint
MAX_CRASHES = 3  # ends of a job that were not its own will, without getting on between them
MAX_WISHES = 20  # ends by which it wished for another start (out of time, preempted, out of memory), without getting on
PICKLE = "task.pkl"
WATCH_SECONDS = 5

# Answers that a later try may not meet, and after which the controller may have taken the job all the same.
_BUSY_CONTROLLER = (
    "Socket timed out",
    "Unable to contact slurm controller",
    "Connection refused",
    "Connection reset",
    "Connection timed out",
    "Communication connection failure",
    "Communication shutdown failure",
    "Message send failure",
    "Message receive failure",
    "Protocol authentication error",
    "Zero Bytes were transmitted",
    "standby mode",
    "temporarily un",
)
_FULL_QUEUE = (
    "job submit limit",
    "MaxJobCount",
    "limits cannot be satisfied",
    # How sbatch words MaxJobCount, after it has tried for two minutes.
    "job queue full",
    "unable to accept job",
    "Resource temporarily unavailable",
)
_KILLED_FOR_MEMORY = ("oom-kill event", "oom_kill event", "Out Of Memory")
_LARGE_ARRAY = ("Invalid job array specification",)


class QueueFull(HarnessError):
    """The cluster takes no more jobs of this user for now, or not as many at once."""


def sbatch(batch: Batch, wanted: WantedRun, run: Path, wish: Resources, dependency: str = "") -> str:
    """Submits the array of a batch and returns its job id. ``run`` is the file that records what was wanted.

    All tasks share one pickle, which each finds through its script: nothing is left to do after ``sbatch`` has
    answered. Raises ``QueueUnreachable`` when Slurm did not answer (it may have taken the job), ``QueueFull`` when it
    takes no more, ``HarnessError`` with Slurm's words when it refuses, ``StorageFull`` as the store does.
    """
    import submitit
    from submitit.core.utils import DelayedSubmission, FailedJobError, FailedSubmissionError

    folder = batch.private
    job = StageJob(str(wanted.registry or ""), str(run) if wanted.budget.limits else "")
    call = DelayedSubmission(job, str(batch.stages))
    call.set_timeout(wish.time_minutes, 0)  # submitit counts nothing: the job's script is asked first
    with storing(folder):
        call.dump(folder / PICKLE)
    words = io.StringIO()
    with _clean_environment(), contextlib.redirect_stderr(words):

        class Transport(submitit.SlurmExecutor):
            """Submits what lies in the folder already."""

            def submit_batch(self) -> str:
                return str(self._submit_command(self._submitit_command_str).job_id)

            def _num_tasks(self) -> int:
                return wish.tasks or 1  # submitit would multiply by nodes, which may be the cluster's choice

        python = shlex.join(warden.python(wish))
        transport = Transport(folder=folder, python=python)
        transport.update_parameters(**_one_line_each(_parameters(batch, wanted, run, wish, dependency)))
        transport.parameters["map_count"] = len(batch.tasks)  # names the logs after the tasks
        try:
            with storing(folder):
                return transport.submit_batch()
        except (FailedJobError, FailedSubmissionError) as error:
            raise refusal(str(error).strip() or words.getvalue().strip()) from error


def job_log(batch: Batch, job: str) -> Path:
    """What a job printed outside of its stage: the log of a job that died before it could open the stage."""
    return batch.private / f"{job}_0_log.out"


def ran_out_of_memory(batch: Batch, job: str) -> bool:
    """Whether the kernel ended a job for want of memory, by what Slurm wrote into its log."""
    tails = [log_tail(log) for log in batch.private.glob(f"{job}_*_log.out")]  # of each task
    return any(words in tail for tail in tails for words in _KILLED_FOR_MEMORY)


def _parameters(batch: Batch, wanted: WantedRun, run: Path, resources: Resources, dependency: str) -> dict[str, object]:
    kinds = f"{len(batch.tasks)} stages of a sweep" if len(batch.tasks) > 1 else "a stage of a sweep"
    asked = asked_for(resources, wanted.threads)
    return {
        **asked,
        "job_name": queue.array_name(wanted.title, batch),
        "comment": kinds.replace(" ", "-"),
        "dependency": dependency or None,
        "setup": [*resources.setup, *_before(batch.private, wanted, resources), *_watch()],
        "teardown": _after(run, wanted.code, resources),
        "additional_parameters": {
            **cast(Mapping[str, object], asked["additional_parameters"]),
            "array": queue.ranges(batch.tasks),
            # A job whose input failed goes away by itself, also when nobody waits here to cancel it.
            "kill-on-invalid-dep": "yes",
        },
    }


def asked_for(resources: Resources, threads: int) -> dict[str, object]:
    """submitit's parameters for what a job asks for, whatever it is to do; ``threads``: CPUs of each process unless
    the resources say.
    """
    return {
        "partition": resources.partition,
        "account": resources.account,
        "qos": resources.qos,
        "exclude": ",".join(resources.exclude) or None,
        "time": int(resources.time_minutes),
        **_tasks(resources),
        "cpus_per_task": resources.cpus or threads,
        "gpus_per_node": _gpus(resources),
        "signal_delay_s": SIGNAL_SECONDS,
        "stderr_to_stdout": True,
        "wckey": None,  # submitit's default is refused where keys are checked
        "additional_parameters": {
            **{name: value for name, value in resources.options if value is not False},
            "requeue" if resources.requeue else "no-requeue": True,
            **({"ntasks": resources.tasks} if resources.tasks else {}),
        },
    }


def _one_line_each(parameters: dict[str, object]) -> dict[str, object]:
    """The parameters, each of which becomes a comment of the script: the rest of a longer one would be commands.

    Raises ``HarnessError`` for one that is not a single line; specs have none, but wishes are read from files too.
    """
    further = cast(Mapping[str, object], parameters["additional_parameters"])
    for name, value in {**parameters, **further}.items():
        if isinstance(value, str) and not value.isprintable():
            raise HarnessError(
                f"The option {name} of a job is not one line of text: {value!r}.",
                "Correct the `cluster` section, then give `harness run` again.",
            )
    return parameters


def _gpus(resources: Resources) -> str | int | None:
    if resources.gpus and resources.gpu_type:
        return f"{resources.gpu_type}:{resources.gpus}"
    return resources.gpus or None


def _tasks(resources: Resources) -> dict[str, object]:
    """Nodes and memory for all tasks. When one of them dies the others do, and the script sees to the rest."""
    tasks, nodes, memory = resources.tasks or 1, resources.nodes, int((resources.memory_gb or 0) * 1024)
    together = ["--kill-on-bad-exit=1"] if tasks > 1 else []
    asked: dict[str, object] = {"nodes": nodes, "srun_args": [*together, *resources.srun]}
    if nodes is None:  # however many of them a node gets
        return asked | ({"mem_per_cpu": f"{-(-memory // (resources.cpus or 1))}M"} if memory else {})
    each = -(-tasks // nodes)
    if tasks > 1:
        asked["ntasks_per_node"] = each
    return asked | ({"mem": f"{memory * each}M"} if memory else {})


def _before(folder: Path, wanted: WantedRun, resources: Resources) -> list[str]:
    """Shell lines that run on the node before the stage."""
    # A compute node may wait minutes for a network that it has not; what is needed was fetched before.
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    pins = {**thread_environment(wanted.threads), "PYTHONPATH": python_path(wanted.code), **offline}
    # In double quotes: its variables are the job's own.
    scratch = [] if resources.scratch is None else [f'export {SCRATCH}="{_in_double_quotes(resources.scratch)}"']
    return [
        *privacy.DEFINITION,
        f"cd {shlex.quote(str(folder))} || exit 1",
        # The pickle in it is code.
        f"harness_private . && {privacy.condition(wanted.code)} || exit 1",
        'harness_job="${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"',
        f'rm -f "$harness_job.{ENDED}" "$harness_job.{WAITING}" "$harness_job.{PROCESS}" "$harness_job.{MEETING}"',
        # What submitit looks for; a job that is in the queue again has one of its own already.
        # One that a full disk has cut short would stay there, and be read each time.
        'pickle="${harness_job}_submitted.pkl"',
        f'[ -s "$pickle" ] || {{ cp {PICKLE} "$pickle.tmp" && mv "$pickle.tmp" "$pickle"; }} || exit 1',
        # srun no longer takes this over from sbatch since 22.05, and would run the step on the default number.
        '[ -z "$SLURM_CPUS_PER_TASK" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"',
        *(f"export {name}={shlex.quote(value)}" for name, value in pins.items()),
        *scratch,
    ]


def _in_double_quotes(text: str) -> str:
    return re.sub(r'([\\"`])', r"\\\1", text)


def _watch() -> list[str]:
    """Shell lines of a watchman: ``srun`` waits for ever when the daemon of its step dies, with the stage or without.

    When the stage's process has been gone for a while, ``srun`` is ended.
    """
    return [
        "harness_watch() {",
        "  local gone=0 pid",
        f"  while sleep {WATCH_SECONDS}; do",
        f'    pid="$(cat "$harness_job.{PROCESS}" 2>/dev/null)" || continue',
        '    [ -n "$pid" ] || continue',
        '    if kill -0 "$pid" 2>/dev/null; then gone=0; else gone=$((gone + 1)); fi',
        '    [ "$gone" -lt 6 ] || { pkill -KILL -P "$$" -x srun; return; }',
        "  done",
        "}",
        "harness_watch & harness_watchman=$!",
    ]


def _after(run: Path, code: Path | None, resources: Resources) -> list[str]:
    """Shell lines that run when the stage's process has ended, however it did.

    A process that was killed, or whose step was lost, can do nothing for itself; this script still can. What ended by
    its own will has left a file that says how; AGAIN is its wish to be started once more. Where Slurm does not take a
    job back, or has to be asked for more memory, the stage is submitted anew. On which node it ended is noted for
    ``nodes``. On a full disk a file is left empty, or is not there: a job whose ends cannot be counted would begin for
    ever, and ends here.
    """
    out_of_memory = f'grep -qE {shlex.quote("|".join(_KILLED_FOR_MEMORY))} "${{harness_job}}_"*_log.out'
    back = f'! {out_of_memory} && scontrol requeue "$harness_job"' if resources.requeue else "false"
    return [
        "harness_code=$?",
        "kill $harness_watchman 2>/dev/null",
        # srun ends with the largest code of all tasks, and it kills those that one of them has left behind.
        f'[ ! -e "$harness_job.{WAITING}" ] || harness_code={AGAIN}',
        f"harness_end={DIED}",
        f'if [ -s "$harness_job.{ENDED}" ]; then harness_code="$(cat "$harness_job.{ENDED}")"',
        f'  if [ "$harness_code" = 0 ]; then harness_end={FINISHED}; else harness_end={FAILED}; fi',
        f'elif [ "$harness_code" = {AGAIN} ] || {out_of_memory}; then',
        f"  harness_end={LATER}",
        "fi",
        f'echo "$SLURM_ARRAY_TASK_ID $SLURMD_NODENAME $harness_end" >> {ENDS}',
        # A network file system may tell of a full disk only when it has to write the file out.
        'harness_count() { echo "ended with $harness_code" >> "$harness_ends" && sync "$harness_ends"; }',
        f'harness_ends="$harness_job.{CRASHES}" harness_most={MAX_CRASHES}',
        f'[ "$harness_code" != {AGAIN} ] || {{ harness_ends="$harness_job.{WISHES}"; harness_most={MAX_WISHES}; }}',
        f'if [ ! -s "$harness_job.{ENDED}" ]; then',
        "  if ! harness_count; then",
        '    echo "$harness_job is not started again: its ends cannot be counted" >&2',
        '  elif [ "$(wc -l < "$harness_ends")" -le "$harness_most" ]; then',
        f"    if {back}; then",
        "      sleep 60",  # Slurm ends it here
        "    else",
        f'      {privacy.condition(code)} && {warden.healing(run, resources)} --leaving "$harness_job"',
        "    fi",
        "  fi",
        "fi",
        'exit "${harness_code:-1}"',
    ]


def refusal(answer: str) -> HarnessError:
    """The error that ``sbatch``'s answer means."""
    text = " ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in answer.splitlines())
    # "Job violates accounting/QOS policy (job submit limit, …)" may mean any limit, and newer versions say which.
    limits = re.findall(r"\b(?:QOS|Assoc)[A-Z]\w+", text)
    of_jobs = any("Submit" in limit for limit in limits)
    if of_jobs or (not limits and any(words in text for words in (*_FULL_QUEUE, *_LARGE_ARRAY))):
        return QueueFull(
            f"Slurm takes no more jobs now: {text}",
            "What was submitted stays in the queue. Give the same command again later, or with `--wait`.",
        )
    if any(words in text for words in _BUSY_CONTROLLER):
        return QueueUnreachable("sbatch", text)
    return HarnessError(
        f"Slurm refused a job: {text}",
        "Correct the `cluster` section (partition, account, qos, time_minutes, memory_gb, cpus, gpus); "
        "what was submitted before stays in the queue.",
    )


@contextlib.contextmanager
def _clean_environment() -> Iterator[None]:
    """submitit gives ``sbatch`` the environment of this process, which may itself be a job's."""
    before = dict(os.environ)
    clean = queue.clean_environment(before)
    for name in before.keys() - clean.keys():
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(before)
