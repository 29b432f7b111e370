from __future__ import annotations

import errno
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.launch.execution import failure, log_tail
from harness.launch.executors import EXECUTORS, load


@pytest.mark.parametrize(
    ("error", "reason", "retryable", "full"),
    [
        (ValueError("a\nb"), "ValueError: a", False, False),
        (ValueError(), "ValueError", False, False),
        (HarnessError("no data", "get some"), "no data\n  → get some", False, False),
        (OSError(errno.ESTALE, "stale"), "OSError: [Errno 116] stale", True, False),
        (FileNotFoundError(errno.ENOENT, "gone"), "FileNotFoundError: [Errno 2] gone", False, False),
        (MemoryError(), "out of memory: the machine has no more", True, False),
    ],
)
def test_failures_are_worded_and_judged(error: Exception, reason: str, retryable: bool, full: bool) -> None:
    found = failure(error, Path("/store"))
    assert (found.reason, found.retryable, found.storage_full) == (reason, retryable, full)


def test_a_full_disk_is_one_whatever_library_met_it() -> None:
    found = failure(RuntimeError("I/O error: No space left on device (os error 28)"), Path("/store"))
    assert found.storage_full
    assert "/store is full" in found.reason


def test_the_tail_of_a_log_ends_where_the_attempt_began(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("old\n" * 5)
    offset = log.stat().st_size
    assert log_tail(log, offset) == ""
    with open(log, "ab") as file:
        file.write(b"\xff broken bytes\n" + b"".join(b"line %d\n" % number for number in range(100)))
    assert log_tail(log, offset).splitlines() == [f"line {number}" for number in range(80, 100)]
    assert log_tail(tmp_path / "none") == ""


def test_every_kind_has_a_function_to_its_name() -> None:
    assert set(EXECUTORS) == {"features", "experts", "train", "evaluate", "check"}
    for target in EXECUTORS.values():
        module, _, function = target.partition(":")
        assert module.startswith("harness.")
        assert function == "run"


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(HarnessError, match="'os:system'"):
        load("os:system")


def from_cause(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
            True,
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"), True),
        (type("OutOfMemoryError", (RuntimeError,), {})("tried to allocate"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError("unable to mmap 9 bytes from file <model.safetensors>: Cannot allocate memory (12)"), True),
        (from_cause(HarnessError("the model cannot be loaded", "look at it"), MemoryError()), True),
        (from_cause(HarnessError("the model cannot be loaded", "look at it"), ValueError()), False),
        (RuntimeError("shapes do not fit"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_want_of_memory_is_told_from_other_errors(error: Exception, is_memory: bool) -> None:
    found = failure(error, Path("/store"))
    assert (found.out_of_memory, found.retryable) == (is_memory, is_memory)
