"""A sweep of real training on a real Slurm while everything dies around it: ``python -m tests.slurm.chaos --seed 1``.

Prints one line a fault, and at the end what they cost. The scores have to be those of an undisturbed local run, bit for
bit; nothing may be computed twice but what came after the last checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.main_job import score_files, start
from tests.slurm.slurm_cluster import Cluster

SWEEP = """\
name: chaos
question: Does a sweep survive?
recipe: idefics2
scale: smoke
factors:
  tokens: {{key: model.connector.num_tokens, levels: [4, 9]}}
baseline: {{tokens: 9}}
seeds: [{seeds}]
phases: {{align: {{steps: 2}}, main: {{steps: {steps}}}}}
runtime: {{checkpoint_seconds: {checkpoint}}}
evaluation: {{tasks: {{vqav2: {{samples: 16}}, coco: {{samples: 16}}}}}}
cluster: {{time_minutes: 60, memory_gb: 1, requeue: {requeue}}}
"""

LONG = 12
"""So many runs, at least, are a sweep whose runs have to last."""

LEASE = {"interval": 0.5, "poll": 0.2, "patience": 10.0, "patience_alive": 15.0, "patience_same_job": 6.0}


@dataclass(frozen=True)
class Setup:
    """How large and how hard: ``runs`` of ``steps`` training steps, ``faults`` at least and ``most`` at most.

    Faults are ``pause`` seconds apart, at random between the two.
    """

    seed: int
    runs: int = 14
    steps: int = 900
    checkpoint: float = 5.0
    faults: int = 30
    pause: tuple[float, float] = (4.0, 12.0)
    requeue: bool = True
    most: int | None = None


@dataclass
class Training:
    """What has been seen of the training of one run: steps that were repeated, checkpoints with their steps."""

    steps: int = 0
    attempt: int = 0
    repeated: list[int] = field(default_factory=list)
    began: float = 0.0
    ended: float = 0.0
    checkpoints: dict[int, int] = field(default_factory=dict)

    @property
    def interval(self) -> int:
        """The most steps between two checkpoints, as far as they were seen."""
        steps = sorted(self.checkpoints.values())
        return max((later - earlier for earlier, later in pairwise([0, *steps, self.steps])), default=0)


class Observer(threading.Thread):
    """Watches the store, and keeps what an attempt overwrites."""

    def __init__(self, results: Path) -> None:
        super().__init__(daemon=True)
        self._results = results
        self.trainings: dict[str, Training] = {}
        self.over = threading.Event()

    def run(self) -> None:
        """Looks ten times a second."""
        while not self.over.wait(0.1):
            for folder in self._results.glob("stages/train/main-*"):
                with contextlib.suppress(OSError, ValueError, KeyError):
                    self._look(folder)

    def _look(self, folder: Path) -> None:
        training = self.trainings.setdefault(folder.name, Training())
        if (folder / "done.json").exists():
            training.ended = training.ended or time.monotonic()
            return
        told = json.loads((folder / "progress.json").read_bytes())
        step, attempt = int(told["progress"]["step"]), int(told["attempt"])
        with contextlib.suppress(OSError):
            training.checkpoints.setdefault((folder / "scratch" / "checkpoint").stat().st_mtime_ns, step)
        training.began = training.began or time.monotonic()
        if attempt != training.attempt:
            if training.attempt:
                training.repeated.append(max(0, training.steps - step + 1))
            training.attempt = attempt
        training.steps = max(training.steps, step)

    def running(self) -> list[str]:
        """Trainings between their first and their last checkpoint."""
        return [name for name, each in self.trainings.items() if each.checkpoints and not each.ended]


class Chaos:
    """One sweep, and the faults that are injected while it goes on."""

    def __init__(self, setup: Setup, cluster: Cluster, folder: Path, cache: Path) -> None:
        self._setup = setup
        self._cluster = cluster
        self._cache = cache
        self._random = random.Random(setup.seed)
        self._sweep = folder / "chaos.yaml"
        self.results = folder / "store"
        self._driver: subprocess.Popen[str] | None = None
        self._later: list[threading.Timer] = []
        self.injected: list[tuple[str, bool]] = []
        self.observer = Observer(self.results)

    def run(self) -> dict[str, Any]:
        """Runs it to its end and tells what happened."""
        setup = self._setup
        self.results.mkdir(parents=True, exist_ok=True)
        (self.results / "lease.json").write_text(json.dumps(LEASE))
        self._sweep.write_text(sweep(setup))
        self.observer.start()
        self._start_driver()
        faults = self._faults()
        bag: list[str] = []
        began = time.monotonic()
        next_fault = began + 5
        while not self._over():
            time.sleep(0.2)
            if time.monotonic() < next_fault or not self.observer.running():
                continue
            if setup.most is not None and len(self.injected) >= setup.most:
                continue
            if not bag:
                bag = list(faults)
                self._random.shuffle(bag)
            kind = bag.pop()
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                if faults[kind]():
                    self.injected.append((kind, bool(self.observer.running())))
                    print(f"[{time.monotonic() - began:6.1f} s] {len(self.injected):2} {kind}", flush=True)
            next_fault = time.monotonic() + self._random.uniform(*setup.pause)
        for timer in self._later:
            timer.join()
        self.observer.over.set()
        return self._told(time.monotonic() - began)

    def _over(self) -> bool:
        assert self._driver is not None
        if self._driver.poll() is None:
            return False
        if self._driver.returncode == 0:
            return True
        out, err = self._driver.communicate()
        print(f"the driver ended with {self._driver.returncode}: {err[-600:]}{out[-300:]}", flush=True)
        self._start_driver()  # as a user would: the same command again
        return False

    def _start_driver(self) -> None:
        run = ["run", self._sweep, "--results", self.results, "--cluster", "slurm", "--wait"]
        self._driver = start(self._cache, *run)

    # Faults; each says whether it found something to break.

    def _faults(self) -> Mapping[str, Callable[[], bool]]:
        return {
            "worker killed": self._kill_worker,
            "daemon of a step killed": self._kill_step,
            "daemon of a node killed": self._kill_slurmd,
            "node lost": self._kill_node,
            "controller killed": self._kill_controller,
            "driver killed": self._kill_driver,
            "preempted": self._preempt,
            "requeued": self._requeue,
            "cancelled": self._cancel,
            "out of time": self._time_out,
            "disk full": self._fill_disk,
            "suspended past its lease": self._suspend,
        }

    def _attempts(self) -> list[dict[str, Any]]:
        """The running attempts at trainings that have a checkpoint."""
        found = []
        for name in self.observer.running():
            for path in (self.results / "stages" / "train" / name / "attempts").glob("*.json"):
                with contextlib.suppress(OSError, ValueError):
                    attempt = json.loads(path.read_bytes())
                    if attempt["state"] == "running" and _lives(attempt["owner"]["pid"]):
                        found.append({**attempt, "folder": name})
        return found

    def _victim(self) -> dict[str, Any] | None:
        attempts = self._attempts()
        return self._random.choice(attempts) if attempts else None

    def _soon(self, seconds: float, act: Callable[[], object]) -> None:
        timer = threading.Timer(seconds, act)
        self._later.append(timer)
        timer.start()

    def _kill_worker(self) -> bool:
        victim = self._victim()
        if victim is not None:
            os.kill(victim["owner"]["pid"], signal.SIGKILL)
        return victim is not None

    def _number(self, job: str) -> str:
        return self._cluster.command("squeue", "-h", f"--job={job}", "--format=%A", check=False).stdout.strip()

    def _node(self, job: str) -> str:
        return self._cluster.command("squeue", "-h", f"--job={job}", "--format=%N", check=False).stdout.strip()

    def _kill_step(self) -> bool:
        victim = self._victim()
        title = f"slurmstepd: [{self._number(victim['job'])}.0]" if victim else "-"
        for pid, line in _processes():
            if line.startswith(title):
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    def _busy_node(self) -> tuple[dict[str, Any], str] | None:
        victim = self._victim()
        node = self._node(victim["job"]) if victim else ""
        return (victim, node) if victim and self._cluster.is_running(node) else None

    def _kill_slurmd(self) -> bool:
        found = self._busy_node()
        if found is not None:
            self._cluster.kill(found[1])
            self._soon(12, lambda: self._cluster.start_node(found[1]))
        return found is not None

    def _kill_node(self) -> bool:
        found = self._busy_node()
        if found is not None:
            self._cluster.kill_node(found[1])
            self._soon(12, lambda: self._cluster.start_node(found[1]))
        return found is not None

    def _kill_controller(self) -> bool:
        if self._cluster.is_running("slurmctld"):
            self._cluster.kill("slurmctld")
            time.sleep(self._random.uniform(1, 4))
            self._cluster.start_controller()
            return True
        return False

    def _kill_driver(self) -> bool:
        assert self._driver is not None
        self._driver.kill()
        self._driver.communicate()
        time.sleep(self._random.uniform(0, 5))
        self._start_driver()
        return True

    def _preempt(self) -> bool:
        found = self._busy_node()
        if found is not None:
            options = ["--partition=urgent", f"--nodelist={found[1]}", "--exclusive", "--output=/dev/null"]
            self._cluster.command("sbatch", *options, "--wrap=sleep 5")
        return found is not None

    def _requeue(self) -> bool:
        victim = self._victim()
        return (
            victim is not None
            and self._cluster.command("scontrol", "requeue", victim["job"], check=False).returncode == 0
        )

    def _cancel(self) -> bool:
        victim = self._victim()
        return victim is not None and self._take("scancel", victim["job"])

    def _take(self, *command: str) -> bool:
        return self._cluster.command(*command, check=False).returncode == 0

    def _time_out(self) -> bool:
        victim = self._victim()
        if victim is None:
            return False
        job = victim["job"]
        self._cluster.command("scontrol", "update", f"JobId={job}", "TimeLimit=1", check=False)
        self._soon(75, lambda: self._cluster.command("scontrol", "update", f"JobId={job}", "TimeLimit=60", check=False))
        return True

    def _fill_disk(self) -> bool:
        if not os.path.ismount(self.results.parent):
            return False
        ballast = self.results.parent / "ballast"
        with contextlib.suppress(OSError), open(ballast, "wb") as file:
            while True:
                file.write(b"\0" * (1 << 20))
        self._soon(self._random.uniform(6, 12), lambda: ballast.unlink(missing_ok=True))
        return True

    def _suspend(self) -> bool:
        """With the daemon of its node, so that Slurm cannot end it before it wakes up."""
        found = self._busy_node()
        if found is None:
            return False
        victim, node = found
        pid = victim["owner"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        self._cluster.kill(node)

        def wake() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            self._soon(8, lambda: self._cluster.start_node(node))

        self._soon(LEASE["patience_alive"] + 20, wake)
        return True

    def _told(self, seconds: float) -> dict[str, Any]:
        trainings = self.observer.trainings.values()
        stages = list(self.results.glob("stages/*/*"))
        states = {stage: [json.loads(p.read_bytes()) for p in stage.glob("attempts/*.json")] for stage in stages}
        repeated = [steps for each in trainings for steps in each.repeated]
        return {
            "seed": self._setup.seed,
            "seconds": round(seconds),
            "faults": len(self.injected),
            "between first and last checkpoint": sum(hit for _, hit in self.injected),
            "kinds": dict(Counter(kind for kind, _ in self.injected)),
            "attempts": sum(map(len, states.values())),
            "stages": len(stages),
            "shortest run, s": round(min((each.ended - each.began for each in trainings), default=0)),
            "fewest checkpoints": min((len(each.checkpoints) for each in trainings), default=0),
            "steps repeated": sum(repeated),
            "most steps repeated after a fault": max(repeated, default=0),
            "most steps between checkpoints": max((each.interval for each in trainings), default=0),
            "results lost": sum(not (stage / "done.json").exists() for stage in stages),
            "published twice": sum(
                sum(each["state"] == "finished" for each in attempts) > 1 for attempts in states.values()
            ),
        }


def shortcomings(told: Mapping[str, Any], setup: Setup) -> list[str]:
    """What a run did not show; the length of runs counts in sweeps of twelve trainings and more."""
    found = [
        (not told["scores equal"], "the scores of the undisturbed run"),
        (told["results lost"], "no result lost"),
        (told["published twice"], "no result published twice"),
        (told["faults"] < setup.faults, f"at least {setup.faults} faults"),
        (
            told["most steps repeated after a fault"] > told["most steps between checkpoints"],
            "less repeated after a fault than there is between two checkpoints",
        ),
    ]
    if setup.runs >= LONG:
        found += [
            (told["shortest run, s"] < 60, "every run lasts 60 seconds"),
            (told["fewest checkpoints"] < 6, "every run has six checkpoints"),
            (
                told["between first and last checkpoint"] < 2 * setup.faults / 3,
                "two faults of three between the first and the last checkpoint of a run",
            ),
        ]
    return [words for missed, words in found if missed]


def sweep(setup: Setup) -> str:
    """The sweep file."""
    seeds = ", ".join(map(str, range(setup.runs // 2)))
    return SWEEP.format(seeds=seeds, steps=setup.steps, checkpoint=setup.checkpoint, requeue=str(setup.requeue).lower())


def undisturbed(setup: Setup, folder: Path, cache: Path) -> dict[str, bytes]:
    """The scores of a local run that nothing happens to."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "chaos.yaml"
    file.write_text(sweep(setup))
    process = start(cache, "run", file, "--results", folder / "results")
    out, err = process.communicate()
    assert process.returncode == 0, err[-3000:] + out[-1000:]
    return score_files(folder / "results")


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int = 1500) -> Iterator[Path]:
    """A file system of its own, that can be filled; an ordinary folder where we may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "chaos", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "T")
    return False


def _processes() -> list[tuple[int, str]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                found.append((int(entry.name), line))
    return found


def main() -> int:
    """Runs it once; the exit code says whether everything held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=30, help="at least; a third more at most")
    parser.add_argument("--runs", type=int, default=14)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--no-requeue", action="store_true")
    parser.add_argument("--accounting", action="store_true", help="on a cluster with slurmdbd")
    parser.add_argument("--reference", type=Path, help="folder that keeps the undisturbed run")
    options = parser.parse_args()
    setup = Setup(
        options.seed,
        options.runs,
        options.steps,
        faults=options.faults,
        requeue=not options.no_requeue,
        most=-(-options.faults * 4 // 3),
    )
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    reference = options.reference or folder / "undisturbed"
    cache = reference / "cache"
    scores = undisturbed(setup, reference, cache)
    cluster = Cluster(nodes=4, requeue=setup.requeue, accounting=options.accounting)
    cluster.start()
    try:
        with small_disk(folder / "disk") as disk:
            chaos = Chaos(setup, cluster, disk, cache)
            told = chaos.run()
            told["scores equal"] = score_files(chaos.results) == scores
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(told, indent=2))
    for line in (missed := shortcomings(told, setup)):
        print(f"not held: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
