"""``harness cancel``, ``retry`` and ``logs``: what can be done about a sweep's jobs, and what they have written."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.cli.selection import select
from harness.cli.waiting import say_waiting
from harness.errors import HarnessError
from harness.launch.execution import log_tail
from harness.launch.slurm.sbatch import job_log, ran_out_of_memory
from harness.launch.status import status
from harness.report.quantities import count
from harness.report.sources import open_sweep
from harness.store import Stage, Store
from harness.store.batches import Batch, Batches
from harness.store.workers import busy

FOLLOW_SECONDS = 1.0
SHORTEST_ID = 4


def cancel(name: str, conditions: Sequence[str], results: Path) -> int:
    """Cancels the jobs of a sweep, or those that only the selected runs need."""
    from harness.launch import slurm

    sweep, store = open_sweep(name, (), results)
    chosen = select(sweep, conditions) if conditions else list(sweep.runs)
    needed = {stage_id for run in sweep.runs if run not in chosen for stage_id in run.stages}
    wanted = dict.fromkeys(stage_id for run in chosen for stage_id in run.stages if stage_id not in needed)
    cancelled = slurm.cancel(store, [sweep.stages[stage_id] for stage_id in wanted], sweep.name)
    print(f"{count(len(cancelled.jobs), 'job')} cancelled; what they wrote stays, `harness run` goes on from there")
    for user, number in cancelled.others.items():
        stay, them = ("stays", "it") if number == 1 else ("stay", "them")
        print(f"{count(number, 'job')} of {user} {stay} in the queue: {user} can cancel {them}", file=sys.stderr)
    return 0


def retry(name: str, conditions: Sequence[str], failed: bool, oom: bool, results: Path) -> int:
    """Submits what failed or got lost anew: of the selected runs, only what ``failed``, or only what ran out of memory,
    with more of it. Workers elsewhere are watched until it is known whether they live.
    """
    from harness.launch import slurm

    sweep, store = open_sweep(name, (), results)
    runs = select(sweep, conditions) if conditions else list(sweep.runs)
    ids = dict.fromkeys(stage_id for run in runs for stage_id in run.stages)
    found = status(store, [sweep.stages[stage_id] for stage_id in ids])
    unknown = [] if failed else [stage_id for stage_id, each in found.items() if each.state == "unknown"]
    living, _ = busy(store.root / "leases", unknown, store.terms, say_waiting)
    states = ("failed",) if failed else ("failed", "lost", "unknown")
    jobs = Batches(store.root).jobs() if oom else {}
    chosen = {
        stage_id
        for stage_id, each in found.items()
        if each.state in states
        and stage_id not in living
        and (not oom or _ran_out_of_memory(store, stage_id, jobs.get(stage_id, ())))
    }
    if not chosen:
        print(f"{sweep.name}: nothing to try again")
        return 0
    submission = slurm.retry(store, sweep.name, chosen, more_memory=oom)
    print(f"{count(len(submission.submitted), 'job')} submitted, {len(submission.alive)} in the queue already")
    return 0


def _ran_out_of_memory(store: Store, stage_id: str, jobs: Sequence[tuple[Batch, str]]) -> bool:
    last = store.attempts(stage_id)[-1:]
    return any(each.out_of_memory or each.relief for each in last) or any(ran_out_of_memory(*job) for job in jobs)


def logs(stage_id: str, follow: bool, lines: int, results: Path) -> int:
    """Prints the end of a stage's log, and with ``follow`` what comes until the stage is done."""
    store = Store(results)
    stage = _stage(store, stage_id)
    log = store.path(stage) / "log.txt"
    if not log.exists():
        log = _job_log(store, stage)
    print(f"{log}:", file=sys.stderr)
    found = status(store, [stage])[stage.id]
    if found.state in ("failed", "lost") and found.reason:
        print(f"{found.state}: {found.reason}", file=sys.stderr)
    text = log_tail(log) if lines <= 0 else "\n".join(_text(log).splitlines()[-lines:])
    print(text)
    if follow:
        for new in _following(store, stage, log):
            print(new, end="", flush=True)
    return 0


def _stage(store: Store, stage_id: str) -> Stage:
    """The stage whose id begins so."""
    given = stage_id.rpartition("-")[2]  # a folder's name will do
    names = {path.name.rpartition("-")[2]: path for path in (store.root / "stages").glob("*/*")}
    submitted = Batches(store.root).jobs()
    found = sorted(each for each in names.keys() | submitted if len(given) >= SHORTEST_ID and each.startswith(given))
    if len(found) != 1:
        what = "no stage" if not found else f"{len(found)} stages"
        raise HarnessError(f"{what} of {store.root} has an id that begins with {given}", "See `harness status --json`.")
    if found[0] in names:
        return store.stage(found[0])
    raise HarnessError(f"stage {found[0]} has not begun", "Its job waits in the queue; see `harness status`.")


def _job_log(store: Store, stage: Stage) -> Path:
    for batch, job in reversed(Batches(store.root).jobs().get(stage.id, [])):
        log = job_log(batch, job)
        if log.exists():
            return log
    raise HarnessError(f"stage {stage} has written no log yet", "See `harness status`.")


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def _following(store: Store, stage: Stage, log: Path) -> Iterator[str]:
    with open(log, encoding="utf-8", errors="replace") as file:
        file.seek(0, 2)
        done = False
        while True:
            text = file.read()
            if text:
                yield text
            if done:
                return
            done = store.is_done(stage)
            if not done:
                time.sleep(FOLLOW_SECONDS)
