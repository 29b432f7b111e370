"""A Slurm of shell words: it takes arrays up to a limit, shows and cancels them, and never starts one."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

FAKE = """\
import pathlib, re, sys
root = pathlib.Path({root!r})
queue, command, words = root / "queue", sys.argv[1], sys.argv[2:]
jobs = [line.split("|") for line in queue.read_text().splitlines()]
with open(root / "calls", "a") as calls:
    print(command, *words, file=calls)
answer = root / (command + ".answer")
if answer.exists():
    sys.exit(answer.read_text())
if command == "squeue":
    print(queue.read_text(), end="")
if command == "scancel":
    for word in words:
        array, _, numbers = word.partition("_")
        chosen = set()
        for part in filter(None, numbers.strip("[]").split(",")):
            first, _, last = part.partition("-")
            chosen |= set(range(int(first), int(last or first) + 1))
        for job in jobs:
            number = job[0].partition("_")[2]
            if job[0].partition("_")[0] == array and (not numbers or int(number) in chosen):
                job[1] = "CANCELLED"
    queue.write_text("".join("|".join(job) + "\\n" for job in jobs))
if command == "sbatch":
    script = pathlib.Path(words[-1]).read_text() if pathlib.Path(words[-1]).exists() else ""
    text = "\\n".join([*words, script])
    name = re.search(r"--job-name=(\\S+)", text)[1]
    array = re.search(r"--array=(\\S+)", text)
    last = int(array[1].split("-")[-1]) + 1 if array else 1
    limit = root / "limit"
    if limit.exists() and sum(job[1] == "PENDING" for job in jobs) + last > int(limit.read_text()):
        sys.exit("sbatch: error: QOSMaxSubmitJobPerUserLimit")
    number = len({{job[0].partition("_")[0] for job in jobs}}) + 1
    with open(queue, "a") as file:
        for task in range(last):
            print(f"{{number}}_{{task}}" if array else number, "PENDING", "", name, "None", sep="|", file=file)
    print(number if "--parsable" in words else f"Submitted batch job {{number}}")
    lost = root / "sbatch.lost"
    if lost.exists():
        sys.exit(lost.read_text())
"""


class FakeSlurm:
    """Commands in a folder of ``PATH``, whose state is a few files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "queue").write_text("")
        (root / "calls").write_text("")
        (root / "slurm.py").write_text(FAKE.format(root=str(root)))
        self.commands = root / "commands"
        self.commands.mkdir()
        for command in ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "sacct"):
            script = self.commands / command
            script.write_text(f'#!/bin/sh\nexec {sys.executable} -S {root / "slurm.py"} {command} "$@"\n')
            script.chmod(0o755)

    def limit(self, jobs: int | None) -> None:
        """How many jobs may be in the queue."""
        (self.root / "limit").unlink(missing_ok=True)
        if jobs is not None:
            (self.root / "limit").write_text(str(jobs))

    def answer(self, command: str, words: str = "", kind: str = "answer") -> None:
        """Lets a command fail with these words, from now on; ``kind="lost"``: after it has done its work."""
        path = self.root / f"{command}.{kind}"
        path.write_text(words) if words else path.unlink(missing_ok=True)

    def change(self, act: Callable[[list[str]], None]) -> None:
        """Changes the fields (id, state, nodes, name, reason) of every job."""
        jobs = [line.split("|") for line in (self.root / "queue").read_text().splitlines()]
        for job in jobs:
            act(job)
        (self.root / "queue").write_text("".join("|".join(job) + "\n" for job in jobs))

    def jobs(self, warden: bool = False) -> dict[str, str]:
        """The states of the jobs by id: of stages, or of wardens."""
        lines = [line.split("|") for line in (self.root / "queue").read_text().splitlines()]
        return {job[0]: job[1] for job in lines if bool(re.search("-warden-", job[3])) == warden}

    def calls(self, command: str) -> list[str]:
        """The arguments of each call of a command."""
        lines = (self.root / "calls").read_text().splitlines()
        return [line.partition(" ")[2] for line in lines if line.split()[0] == command]

    @property
    def path(self) -> str:
        """``PATH`` with these commands and no others of Slurm's."""
        return f"{self.commands}{os.pathsep}/bin{os.pathsep}/usr/bin"
