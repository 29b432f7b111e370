"""What a Slurm job does: computes the stage of its task number in the file whose path it was given.

Slurm may start it any number of times (requeued after a lost node, preempted, out of time, submitted twice): it trusts
nothing but the store, and resumes there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from harness.launch import waiting
from harness.launch.execution import Execution, execute
from harness.launch.siblings import Together
from harness.launch.slurm.runs import WantedRun
from harness.launch.slurm.staging import SCRATCH, stage_in
from harness.launch.slurm.tasks import MEETING, Tasks
from harness.store import Held, Stage, Store
from harness.store.batches import task

AGAIN = 75  # the exit code (EX_TEMPFAIL) of a job that wants to be started once more
ENDED = "ended"  # suffix of the file by which a job tells its script that it ended by its own will, and how
WAITING = "again"  # suffix of the one that says AGAIN where the exit code is another task's, or that of a wrapper
PROCESS = "pid"  # suffix of the file with its process id
CRASHES = "crashes"  # suffix of the file in which the script counts the ends that were not
WISHES = "wishes"  # suffix of the file in which it counts the ends that wished for another start
RESUMED = "resumed"  # suffix of the file with the first step of the latest attempt


class StageFailed(Exception):
    """Makes the job end with an error, so that Slurm does not start what depends on it."""


class StageJob:
    """The function that submitit pickles. It holds paths or nothing, and is called with one."""

    def __init__(self, registry: str = "", limited: str = "") -> None:
        self.registry = registry
        self.limited = limited  # the record of a run with a budget

    def __call__(self, stages: str) -> None:
        """Computes a stage of a batch's ``stages.jsonl``. Raises ``StageFailed`` when it could not."""
        path, tasks = Path(stages), Tasks.current()
        own = Own(path.parent / "private", _job())
        _prepare(tidies=tasks.number == 0)
        if tasks.number:
            tasks.follow(own.path(MEETING), self._registry)  # task 0 alone speaks for the job
            return
        own.write(PROCESS, os.getpid())
        with tasks.led(own.path(MEETING)) as together:
            self._lead(path, own, together)

    @property
    def _registry(self) -> Path | None:
        return Path(self.registry) if self.registry else None

    def _lead(self, path: Path, own: Own, together: Together | None) -> None:
        waiting.until(path.exists)
        stage = task(path, int(own.job.partition("_")[2]))
        store = Store(path.parents[2])
        try:
            execution = self._compute(path, store, stage, own, together)
        except StageFailed:
            own.write(ENDED, 1)
            raise
        if execution.out_of_memory and execution.retryable:
            print(f"{execution.reason}; the next attempt takes smaller batches", flush=True)
            own.end_for_now()
        if execution.state == "failed":
            # What another attempt may mend is left to the script, which counts.
            if not execution.retryable:
                own.write(ENDED, 1)
            raise StageFailed(execution.reason)
        own.write(ENDED, 0)
        print(f"{stage}: {execution.state} {execution.outcome}", flush=True)

    def checkpoint(self, stages: str) -> NoReturn:
        """What submitit's handler calls first when time runs out or a preemption is near: ends the attempt.

        The script puts the job into the queue again, or submits the stage anew where Slurm takes no job back. submitit
        would ask Slurm from here, which fails in a container without ``scontrol`` and where jobs are not requeued.
        """
        signal.signal(_warning(), signal.SIG_IGN)  # a wrapper may pass on what Slurm has sent to every process
        Own(Path(stages).parent / "private", _job()).end_for_now()

    def _compute(self, path: Path, store: Store, stage: Stage, own: Own, together: Together | None) -> Execution:
        listener = Endurance(own).hear
        patience = time.monotonic() + waiting.DISK_SECONDS
        # Ranks on other nodes are told where to read, and would look for this node's copies.
        scratch = os.environ.get(SCRATCH) if os.environ.get("SLURM_NNODES", "1") == "1" else None
        while True:
            if not waiting.until(path.exists):  # unmounted; a new store in its place would be nobody's
                raise StageFailed(f"the results folder {store.root} has vanished from this node")
            if not store.is_done(stage):
                _check_inputs(store, stage)
                self._check_budget(store)
                stage = stage_in(stage, scratch) if scratch else stage
            execution = execute(
                store,
                stage,
                registry=self._registry,
                job=own.job,
                listener=listener,
                on_wait=_print_holder,
                together=together,
            )
            if execution.storage_full and time.monotonic() < patience:
                print(f"{execution.reason}; waiting for space", flush=True)
                time.sleep(waiting.DISK_POLL_SECONDS)
            elif execution.state != "held":  # else taken over while this node was cut off; ends when the stage is done
                return execution

    def _check_budget(self, store: Store) -> None:
        """What waited in the queue while others spent the budget does not begin."""
        overdrawn = WantedRun.load(Path(self.limited)).ledger(store).obstacle() if self.limited else ""
        if overdrawn:
            raise StageFailed(overdrawn)


class Own:
    """Small files of a job beside its pickle, by which it and its script know of each other."""

    def __init__(self, folder: Path, job: str) -> None:
        self.job = job
        self._folder = folder

    def path(self, suffix: str) -> Path:
        """Where a file lies."""
        return self._folder / f"{self.job}.{suffix}"

    def write(self, suffix: str, value: int) -> None:
        """Writes a number. A disk that is full is no reason to end."""
        with contextlib.suppress(OSError):
            self.path(suffix).write_text(f"{value}\n")

    def end_for_now(self) -> NoReturn:
        """Ends this process with the wish to be started once more."""
        self.write(WAITING, AGAIN)
        sys.exit(AGAIN)

    def read(self, suffix: str) -> int | None:
        """The number, if it is there."""
        try:
            return int(self.path(suffix).read_text())
        except (OSError, ValueError):
            return None


class Endurance:
    """Forgives the crashes of a job that gets on: of one that resumed further on than when it began the last time.

    Steps that were computed and lost again do not count, or a job that always dies before its first checkpoint would
    be started for ever.
    """

    def __init__(self, own: Own) -> None:
        self._own = own
        self._heard = False

    def hear(self, progress: Mapping[str, Any]) -> None:
        """Takes the first report of an attempt for the place where it resumed."""
        step = progress.get("step")
        if self._heard or not isinstance(step, int):
            return
        self._heard = True
        before = self._own.read(RESUMED)
        if before is not None and step > before:
            with contextlib.suppress(OSError):
                self._own.path(CRASHES).unlink(missing_ok=True)
                self._own.path(WISHES).unlink(missing_ok=True)
        self._own.write(RESUMED, step)


def _job() -> str:
    """The id of this task of an array, as the queue has it."""
    return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"


def _warning() -> signal.Signals:
    """The signal by which Slurm says that the end is near, as submitit has asked for."""
    return getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}", signal.SIGUSR2)


def _prepare(tidies: bool) -> None:
    # A kill while submitit saved its result would make every later one an assertion error.
    folder = os.environ.get("SUBMITIT_FOLDER") if tidies else None
    for leftover in Path(folder).glob(f"{_job()}_*.save_tmp") if folder else ():
        leftover.unlink(missing_ok=True)

    # Slurm sends the time-out signal to every process of the step. A forked data loader would inherit submitit's
    # handler and end for the stage.
    def calm() -> None:
        signal.signal(_warning(), signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    os.register_at_fork(after_in_child=calm)


def _check_inputs(store: Store, stage: Stage) -> None:
    """Slurm's dependencies are hints: it counts jobs that it has forgotten as successful. The store knows."""
    for role, stage_id in stage.inputs.items():

        def arrived(stage_id: str = stage_id) -> bool:
            if store.is_done(stage_id):
                return True
            attempts = store.attempts(stage_id)
            return bool(attempts) and attempts[-1].state == "failed"

        waiting.until(arrived)
        record = store.record(stage_id)
        if record is None:
            raise StageFailed(f"its {role}, stage {stage_id}, is not done")
        if record.outcome == "diverged":
            raise StageFailed(f"its {role}, stage {stage_id}, has diverged")


def _print_holder(held: Held) -> None:
    print(f"waiting for {held.owner}, which works on the same stage", flush=True)
