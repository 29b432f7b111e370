from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import Problem, SpecError
from harness.spec import compose
from harness.spec.sweep import Sweep, load

HEAD = "name: t\nrecipe: idefics2\nscale: micro\n"
"""Three lines that are right, so that what a test is about starts on line 4."""

SPOT = "§"
"""Stands in the text of a test before each place that a problem has to name."""


@pytest.fixture(autouse=True)
def _fixed_recipes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes and scales that stay as they are, whatever is tuned in those that ship."""
    if "test_packaged" not in request.module.__name__:
        monkeypatch.setattr(compose, "PACKAGED", Path(__file__).parent / "packaged")


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | bytes], str]:
    """Writes a sweep file and returns its name; the test runs in the file's folder."""
    monkeypatch.chdir(tmp_path)

    def writer(content: str | bytes) -> str:
        Path("sweep.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
        return "sweep.yaml"

    return writer


@pytest.fixture
def accept(write: Callable[[str | bytes], str]) -> Callable[..., Sweep]:
    """Loads what follows the three right lines."""
    return lambda text, *overrides: load(write(HEAD + text), overrides)


@pytest.fixture
def refuse(write: Callable[[str | bytes], str]) -> Callable[..., tuple[Problem, ...]]:
    """Loads what follows the three right lines and returns the problems that it has to have.

    Where the text has spots, the problems have to stand exactly there. Whatever the mistake, the error is one that a
    user can act on, and nothing was written.
    """

    def refuser(text: str, *overrides: str, head: str = HEAD) -> tuple[Problem, ...]:
        name = write((head + text).replace(SPOT, ""))
        with pytest.raises(SpecError) as caught:
            load(name, overrides)
        problems = caught.value.problems
        assert caught.value.exit_code == 2
        assert problems
        assert all(problem.file and problem.message and problem.remedy for problem in problems)
        assert "Traceback" not in str(caught.value)
        assert [path.name for path in Path.cwd().iterdir()] == [name]
        if SPOT in text:
            assert [(problem.line, problem.column) for problem in problems] == spots(head + text)
            assert {problem.file for problem in problems} == {name}
        return problems

    return refuser


def spots(text: str) -> list[tuple[int, int]]:
    """Line and column of every spot in a text, as they are without the spots."""
    found = []
    for line, content in enumerate(text.split("\n"), 1):
        parts = content.split(SPOT)
        found += [(line, len("".join(parts[: count + 1])) + 1) for count in range(len(parts) - 1)]
    return found
