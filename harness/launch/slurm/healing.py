"""Goes on with a run when nobody waits for it: ``python -m harness.launch.slurm.healing RECORD`` (``runs.py``).

Two call it. The script of a job that was killed and that Slurm may not put into the queue again, as the last thing it
does. And the run's warden, a job that waits for all the others, does this one look and ends: whatever was lost on the
way (a node and its script with it, a job that somebody cancelled) is then submitted anew, with the next warden. Where
the queue is full or silent, the warden waits in it for another look.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.launch.events import State
from harness.launch.slurm.job import AGAIN
from harness.launch.slurm.queue import QueueUnreachable
from harness.launch.slurm.runs import WantedRun
from harness.launch.slurm.submission import Submission, Submitter, has_failed
from harness.store import StorageFull, Store
from harness.store.batches import Batches

MAX_JOBS = 20  # a stage that was submitted so often and is still not done is left to people
PATIENCE_SECONDS = 600.0  # with a silent controller and a full disk, within the warden's quarter of an hour
RETRY_SECONDS = 20.0


def heal(path: Path, leaving: str = "") -> Submission:
    """Submits what is missing of the run that a file records; ``leaving`` is the id of the job that is about to end.

    Stages that failed for a reason that remains are left alone, and so are those behind them. Raises ``HarnessError``
    when Slurm refuses or the file is no record of a run.
    """
    run = WantedRun.load(path)
    store = Store(path.parents[2])
    given = Batches(store.root).given()
    given_up: dict[str, State] = {
        stage.id: "failed" for stage in run.stages if given[stage.id] >= MAX_JOBS or has_failed(store, stage)
    }
    return Submitter(store, run, recorded=True).submit(given_up, leaving=leaving)


def main(arguments: Sequence[str] | None = None) -> int:
    """What a job's script calls. The exit code is AGAIN where another look is needed that nobody else will take."""
    parser = argparse.ArgumentParser(description="Submits what is missing of a run; not meant to be started by hand.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--leaving", default="", help="the job that is about to end")
    options = parser.parse_args(arguments)
    if not options.run.exists():
        return 0  # an older version's word for cancelled
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            submission = heal(options.run, options.leaving)
            break
        except (QueueUnreachable, StorageFull) as error:
            print(error, file=sys.stderr, flush=True)
            if time.monotonic() > end:
                return AGAIN
            time.sleep(RETRY_SECONDS)
        except HarnessError as error:
            print(error, file=sys.stderr)
            return 1
    print(f"{len(submission.submitted)} jobs submitted, {len(submission.alive)} in the queue", flush=True)
    if submission.full is not None:
        print(submission.full.message)
    if submission.unwatched:
        print(f"no warden looks after them: {submission.unwatched}")
    return AGAIN if submission.is_left_alone else 0


if __name__ == "__main__":
    sys.exit(main())
