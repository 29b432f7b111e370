"""Small jobs beside those of stages, which need a process and no GPU: the warden of a run, and the doctor's probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.launch.slurm import queue
from harness.launch.slurm.resources import Resources

MEMORY_GB = 2.0  # at most: the record of a hundred thousand stages fits


def submit(script: Sequence[str], wish: Resources, options: Mapping[str, object]) -> str:
    """Submits a script where, and as whom, the jobs that ask for ``wish`` are; returns the job's id.

    Raises ``QueueUnreachable`` with Slurm's words when it refuses or does not answer.
    """
    text = "\n".join(["#!/bin/bash", *script]) + "\n"
    return queue.ask("sbatch", "--parsable", *_asked(wish), *_written(options), text=text).partition(";")[0].strip()


def _asked(wish: Resources) -> list[str]:
    # Without a word on memory a job waits for all of a node where memory is counted and the cluster has no default.
    memory = min(wish.memory_gb or 0.0, MEMORY_GB)
    options: dict[str, object] = {
        "ntasks": 1,
        "cpus-per-task": 1,
        "mem": f"{int(memory * 1024)}M" if memory else None,
        "partition": wish.partition,
        "account": wish.account,
        "qos": wish.qos,
        "exclude": ",".join(wish.exclude),
        **dict(wish.options),
    }
    return _written(options)


def _written(options: Mapping[str, object]) -> list[str]:
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items() if _is_set(value)]


def _is_set(value: object) -> bool:
    return value is not None and value is not False and value != ""
