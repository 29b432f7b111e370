"""One small job that looks at the results folder from a compute node: ``probe`` submits it and waits for its answer.

On the node it is ``python -m harness.launch.slurm.probe``, started in the folder where it is to leave its answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import harness
from harness.errors import HarnessError
from harness.launch.execution import log_tail
from harness.launch.pool import python_path
from harness.launch.slurm import queue, small, warden
from harness.launch.slurm.inspection import Check
from harness.launch.slurm.resources import Resources
from harness.launch.slurm.sbatch import refusal

POLL_SECONDS = 0.5
VISIBLE_SECONDS = 15.0  # for which a file of an ended job may not be seen yet
MINUTES = 5
LAST_SECONDS = MINUTES * 60 + 60.0  # after which Slurm has ended it, unless it cannot
NOT_BEGUN = ("PENDING", "CONFIGURING")  # a node that has to be switched on first takes long
QUESTION, ANSWER, LOG = "question", "answer.json", "log.txt"


def probe(results: Path, wish: Resources, seconds: float) -> list[Check]:
    """What a job that asks for ``wish`` finds, waited for ``seconds`` at most; then it is cancelled.

    Nothing is left in the results folder. Never raises.
    """
    was_there = results.exists()
    try:
        results.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".harness-doctor-", dir=results.absolute()))
    except OSError as error:
        return [Check("fails", "results folder", f"{results.absolute()}: {error.strerror}", "choose another --results")]
    try:
        return list(_probe(folder, wish, seconds))
    except HarnessError as error:
        return [Check("fails", "a job", error.message, error.remedy)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if not was_there:
            with contextlib.suppress(OSError):  # others may have begun to use it
                results.rmdir()


def _probe(folder: Path, wish: Resources, seconds: float) -> Iterator[Check]:
    token = uuid.uuid4().hex
    (folder / QUESTION).write_text(token)
    job = _submit(folder, wish)
    state = _wait(folder, job, seconds)
    if state in NOT_BEGUN:
        queue.cancel_whole([job])
        words = "the queue is busy; nothing is known of the nodes. Try again, or wait longer with --probe-seconds"
        yield Check("note", "a job", f"has not begun within {seconds:.0f} s", words)
        return
    answer = _answer(folder)
    if answer is None and state not in queue.ENDED:
        queue.cancel_whole([job])
        words = "its node may be suspended or slow; nothing is known of it. Try again"
        yield Check("note", "a job", f"is {state.lower()}, and has not ended within its {MINUTES} minutes", words)
        return
    if answer is None:
        queue.cancel_whole([job])
        end = (log_tail(folder / LOG).strip().splitlines() or ["its log is not seen here either"])[-1]
        python = " ".join(warden.python(wish))
        words = f"{folder.parent} has to be the same folder on the nodes, and Python ({python}) to work there"
        yield Check("fails", "a job", f"{state.lower()} without an answer: {end}", words)
        return
    yield Check("ok", "a job", f"ran on {answer['node']}")
    yield from _folder_checks(folder, answer, token)
    yield from _python_checks(answer)
    skew = answer["time"] - answer["heard"]
    yield Check("ok", "clocks", f"{abs(skew):.0f} s apart", "never compared")


def _submit(folder: Path, wish: Resources) -> str:
    options = {
        "job-name": f"{queue.PREFIX}doctor",
        "output": str(folder / LOG),
        "time": str(MINUTES),
    }
    script = [
        *wish.setup,
        f"export PYTHONPATH={shlex.quote(python_path())}",
        f"cd {shlex.quote(str(folder))} || exit 1",
        f"exec {shlex.join([*warden.python(wish), '-m', 'harness.launch.slurm.probe'])}",
    ]
    try:
        return small.submit(script, wish, options)
    except queue.QueueUnreachable as error:
        raise refusal(error.answer) from error


def _wait(folder: Path, job: str, seconds: float) -> str:
    """The job's last state: of one that has begun within ``seconds``, its end is waited for, and its files a moment
    longer.
    """
    until = time.monotonic() + seconds
    begun: float | None = None
    ended: float | None = None
    state = "PENDING"
    while True:
        if (folder / ANSWER).exists():
            return "COMPLETED"
        with contextlib.suppress(queue.QueueUnreachable):
            told = queue.ask("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T").strip()
            state = told or "COMPLETED"
        if state in queue.ENDED:
            ended = ended or time.monotonic()
            if time.monotonic() - ended > (VISIBLE_SECONDS if state == "COMPLETED" else POLL_SECONDS):
                return state
        elif state not in NOT_BEGUN:
            begun = begun or time.monotonic()
            if time.monotonic() - begun > LAST_SECONDS:
                return state
        elif time.monotonic() > until:
            return state
        os.listdir(folder)  # makes a network file system look again
        time.sleep(POLL_SECONDS)


def _answer(folder: Path) -> dict[str, Any] | None:
    try:
        return {**json.loads((folder / ANSWER).read_bytes()), "heard": time.time()}
    except (OSError, ValueError):
        return None


def _folder_checks(folder: Path, answer: Mapping[str, Any], token: str) -> Iterator[Check]:
    where = str(folder.parent)
    if answer["question"] != token:
        yield Check("fails", "results folder", f"{where} is another folder there", "choose one that all nodes share")
        return
    yield Check("ok", "results folder", f"{where} is seen and written there")
    for what, needed in (("hard links", "the store's leases"), ("rename", "every file of the store")):
        good = answer[what]
        yield Check("ok" if good is True else "fails", what, "work there" if good is True else good, needed)


def _python_checks(answer: Mapping[str, Any]) -> Iterator[Check]:
    here = platform.python_version()
    there = answer["python"]
    same = here == there
    yield Check("ok" if same else "note", "Python there", there, "" if same else f"{here} here; results may differ")
    same = answer["harness"] == harness.__version__
    yield Check("ok" if same else "fails", "package there", f"{answer['harness']} in {answer['place']}", "")


def look(folder: Path) -> None:
    """What the job does on its node. Errors end in its log."""
    content = {
        "node": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "question": (folder / QUESTION).read_text(),
        "hard links": _try(lambda: os.link(folder / QUESTION, folder / "link")),
        "rename": _try(lambda: os.rename(folder / QUESTION, folder / "renamed")),
        "python": platform.python_version(),
        "harness": harness.__version__,
        "place": str(Path(harness.__file__).parent),
        "time": time.time(),
    }
    (folder / "new").write_text(json.dumps(content))
    os.rename(folder / "new", folder / ANSWER)


def _try(act: Any) -> bool | str:
    try:
        act()
    except OSError as error:
        return error.strerror or str(error)
    return True


if __name__ == "__main__":
    look(Path.cwd())
