"""The order of test files when several processes share them, a file at a time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that may take longest first, then those with most tests: no process is left alone with a long one.

    What a file may take is the largest of its tests' own time limits. pytest-xdist's order is the number of tests alone
    (``--loadscope-reorder``, which ``pyproject.toml`` turns off), and our longest files have one test.
    """
    limits: dict[Path, float] = {}
    for item in items:
        mark = item.get_closest_marker("timeout")
        limits[item.path] = max(limits.get(item.path, 0), mark.args[0] if mark else 0)
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (-limits[item.path], -tests[item.path], item.path))
