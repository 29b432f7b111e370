from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from harness.train.memory import keep_freed_memory
if "keep" in sys.argv:
    print(int(keep_freed_memory()), end=" ")
def work():
    for _ in range(20):
        tensors = [torch.ones(2_500_000) for _ in range(4)]
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments: str) -> list[int]:
    run = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    return [int(number) for number in run.stdout.split()]


def test_freed_memory_is_used_again() -> None:
    kept, with_it = faults("keep")
    if not kept:
        pytest.skip("not glibc")
    (without,) = faults()
    if without < 1000:
        pytest.skip("here the C library gives nothing back that it would have to ask for again")
    assert with_it < without / 2  # none, or those of a block that once did not fit into the place of the last


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    from harness.train.memory import keep_freed_memory

    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert keep_freed_memory() is False
