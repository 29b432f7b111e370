"""Waiting for a shared disk: for what it shows late, and for space."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.launch import waiting
from harness.store import StorageFull


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that a look moves by ten seconds, and no real waiting."""
    ticks = itertools.count(0.0, 10.0)
    monkeypatch.setattr(waiting.time, "monotonic", lambda: next(ticks))
    monkeypatch.setattr(waiting.time, "sleep", lambda seconds: None)


def test_what_is_seen_late_is_waited_for() -> None:
    answers = iter([FileNotFoundError(), False, HarnessError("half of it"), True])

    def look() -> bool:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert waiting.until(look)
    assert not waiting.until(lambda: False)


def test_space_is_waited_for_and_not_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    left = [3]

    def write() -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise StorageFull(Path("/shared/results"))

    waiting.for_space(write)
    assert caplog.text.count("/shared/results") == 3
    left[0] = 10_000
    with pytest.raises(StorageFull):
        waiting.for_space(write)
    assert 10_000 - left[0] < waiting.DISK_SECONDS / 10 + 2
