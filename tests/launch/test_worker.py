"""The line between scheduler and worker, and what a worker does when nobody holds the other end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy_graphs import Toys

from harness.launch import worker
from harness.launch.pool import python_path
from harness.store import Store

PATIENCE = 100.0  # seconds; tests share machines with trainings


def start(toys: Toys, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-u", "-m", "harness.launch.worker", "--parent", str(os.getpid())]
    environment = {**os.environ, "PYTHONPATH": python_path()}
    return subprocess.Popen(
        [*command, "--registry", str(toys.registry)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        **options,  # type: ignore[call-overload]
    )


def test_it_answers_requests_one_by_one(store: Store, toys: Toys) -> None:
    process = start(toys)
    assert process.stdin
    assert process.stdout
    try:
        for stage in toys.chain(2):
            request = {"spec": str(store.register(stage)), "presumed_dead": ""}
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            messages = []
            while not messages or messages[-1]["message"] != "ended":
                messages.append(json.loads(process.stdout.readline()))
            assert messages[0]["message"] == "started"
            assert messages[0]["attempt"] == 1
            assert messages[-1]["state"] == "finished"
        process.stdin.write(json.dumps({"spec": "/nowhere/stage.json", "presumed_dead": ""}) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        assert (answer["state"], answer["retryable"]) == ("failed", False)
        assert "not the stage.json of a store" in answer["reason"]
        process.stdin.close()
        assert process.wait(timeout=PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_what_is_printed_between_stages_stays_off_the_line(store: Store, toys: Toys) -> None:
    process = start(toys)
    assert process.stdin
    assert process.stdout
    try:
        request = {"spec": str(store.register(toys.stage("noisy", behaviour="late_noise"))), "presumed_dead": ""}
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        while json.loads(process.stdout.readline())["message"] != "ended":
            pass
        time.sleep(0.6)
        process.stdin.close()
        assert process.stdout.read() == ""
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_it_ends_in_the_middle_of_its_work_when_the_line_is_cut(store: Store, toys: Toys) -> None:
    """Where prctl does not exist or the scheduler ran in a thread, this is what ends it."""
    stage = toys.stage("slow", seconds=0.1, steps=1000)
    process = start(toys)
    assert process.stdin
    assert process.stdout
    try:
        request = {"spec": str(store.register(stage)), "presumed_dead": ""}
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["message"] == "started"
        assert json.loads(process.stdout.readline())["message"] == "progress"
        process.stdin.close()
        assert process.wait(timeout=PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    time.sleep(0.3)
    before = toys.journal.read_text()
    time.sleep(0.3)
    assert toys.journal.read_text() == before


BETWEEN = """
import os, subprocess, sys, time
worker = [sys.executable, "-P", "-u", "-m", "harness.launch.worker", "--parent", str(os.getpid())]
print(subprocess.Popen(worker, stdin=0, stdout=subprocess.DEVNULL).pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_it_dies_with_its_scheduler_though_somebody_holds_the_line_open(toys: Toys) -> None:
    environment = {**os.environ, "PYTHONPATH": python_path()}
    between = subprocess.Popen(
        [sys.executable, "-c", BETWEEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert between.stdout
    try:
        pid = int(between.stdout.readline())
        status = Path(f"/proc/{pid}/status")
        end = time.monotonic() + PATIENCE
        while status.exists() and "python" not in status.read_text().splitlines()[0]:
            assert time.monotonic() < end
        time.sleep(0.5)
        between.kill()
        between.wait()
        while status.exists() and "(zombie)" not in status.read_text():
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        between.kill()
        between.communicate()


def test_progress_is_passed_on_at_a_persons_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    parent = object.__new__(worker.Parent)
    parent._output, parent._reported = writing, 0.0
    for step in range(1000):
        parent.progress({"step": step})
    os.close(writing)
    with open(reading) as lines:
        messages = [json.loads(line) for line in lines]
    assert messages[0] == {"message": "progress", "progress": {"step": 0}}
    assert len(messages) < 20
