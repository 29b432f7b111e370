"""What a Slurm job does: computes the stage whose spec it was given the path of.

Slurm may start it any number of times (requeued after a lost node, preempted, out of time, submitted twice): it trusts
nothing but the store, and resumes there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.launch.execution import execute
from harness.store import Held, Stage, Store

VISIBLE_SECONDS = 60.0  # a network file system may show for so long that a file is not there


class StageFailed(Exception):
    """Makes the job end with an error, so that Slurm does not start what depends on it."""


class StageJob:
    """The function that submitit pickles. It holds a path or nothing, and is called with one."""

    def __init__(self, registry: str = "") -> None:
        self.registry = registry

    def __call__(self, spec: str) -> None:
        """Computes the stage of a ``stage.json``. Raises ``StageFailed`` when it could not."""
        _prepare()
        path = Path(spec)
        _wait_until(path.exists)
        store, stage = Store.of_spec(path)
        if not store.is_done(stage):
            _check_inputs(store, stage)
        registry = Path(self.registry) if self.registry else None
        job = os.environ.get("SLURM_JOB_ID", "")
        execution = execute(store, stage, registry=registry, job=job, on_wait=_print_holder)
        while execution.state == "held":  # taken over while this node was cut off; the job ends when the stage is done
            execution = execute(store, stage, registry=registry, job=job, on_wait=_print_holder)
        if execution.state == "failed":
            raise StageFailed(execution.reason)
        print(f"{stage}: {execution.state} {execution.outcome}", flush=True)

    def checkpoint(self, spec: str) -> Any:
        """What submitit puts into the queue again when time runs out: the same. The store has the rest."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, spec)


def _prepare() -> None:
    # A kill while submitit saved its file would make every later signal an assertion error.
    folder = os.environ.get("SUBMITIT_FOLDER")
    for leftover in Path(folder).glob("*.save_tmp") if folder else ():
        leftover.unlink(missing_ok=True)
    # Slurm sends the time-out signal to every process of the step. A forked data loader would inherit submitit's
    # handler and requeue the job once more.
    number = getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}", signal.SIGUSR2)

    def calm() -> None:
        signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    os.register_at_fork(after_in_child=calm)


def _check_inputs(store: Store, stage: Stage) -> None:
    """Slurm's ``afterok`` is a hint: it counts jobs that it has forgotten as successful. The store knows."""
    for role, stage_id in stage.inputs.items():

        def arrived(stage_id: str = stage_id) -> bool:
            if store.is_done(stage_id):
                return True
            attempts = store.attempts(stage_id)
            return bool(attempts) and attempts[-1].state == "failed"

        _wait_until(arrived)
        record = store.record(stage_id)
        if record is None:
            raise StageFailed(f"its {role}, stage {stage_id}, is not done")
        if record.outcome == "diverged":
            raise StageFailed(f"its {role}, stage {stage_id}, has diverged")


def _wait_until(condition: Any) -> None:
    end = time.monotonic() + VISIBLE_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError, HarnessError):
            if condition():
                return
        time.sleep(1.0)


def _print_holder(held: Held) -> None:
    print(f"waiting for {held.owner}, which works on the same stage", flush=True)
