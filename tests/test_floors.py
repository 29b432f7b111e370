"""Design §3: a room imports only from floors below its own, heavy things stay in their rooms, only the cli prints."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import harness

ROOT = Path(harness.__file__).parent
FLOORS = [
    {"__main__"},
    {"cli"},
    {"launch", "report"},
    {"plan", "analysis"},
    {"train", "evaluate"},
    {"models", "data", "zoo", "distributed"},
    {"spec", "store"},
    {"errors", "progress", "__init__"},
]
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}
ANALYSIS = ("samples", "statistics", "stored", "tables", "claims", "document")
"""From below."""
# Rooms of one floor that may know each other: the zoo is pretrained on the microworld, and models read features.
NEIGHBOURS = {("zoo", "data"), ("zoo", "models"), ("models", "data")}
# A worker's standard output is the stage's log and its arguments come from the scheduler; pretraining is a script;
# lm-eval's command line takes its arguments from nowhere else.
SCRIPTS = {
    "launch/worker.py",
    "launch/follower.py",
    "analysis/stored/filling.py",
    "launch/slurm/job.py",
    "launch/slurm/healing.py",
    "launch/execution.py",
    "evaluate/lm_eval_bridge/command.py",
    "zoo/language_pretraining.py",
    "zoo/vision_pretraining.py",
}


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if "pictures" not in path.parts)


def room_of(path: Path) -> str:
    part = path.relative_to(ROOT).parts[0]
    return part.removesuffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> tuple[tuple[int, str], ...]:
    return tuple(find_imports(path))


def find_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every imported module, also inside functions; not those for type checkers only."""
    tree = tree_of(path)
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    package = path.relative_to(ROOT.parent).with_suffix("").parts
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level]) if node.level else ""
            name = ".".join(part for part in (base, node.module or "") if part)
            yield node.lineno, name
            if name == "harness":
                yield from ((node.lineno, f"harness.{alias.name}") for alias in node.names)


def test_there_is_no_room_without_a_floor() -> None:
    assert {room_of(path) for path in modules()} <= set(FLOOR)


def test_rooms_import_from_floors_below_only() -> None:
    wrong = []
    for path in modules():
        here = room_of(path)
        for line, name in imports(path):
            parts = name.split(".")
            if parts[0] != "harness" or len(parts) < 2 or parts[1] not in FLOOR:
                continue
            there = parts[1]
            allowed = there == here or FLOOR[there] > FLOOR[here] or (here, there) in NEIGHBOURS
            if not allowed:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong


def test_analysis_has_floors_of_its_own() -> None:
    wrong = []
    for path in modules():
        here, *below = path.relative_to(ROOT).with_suffix("").parts
        if here != "analysis" or below[0] == "__init__":
            continue
        for line, name in imports(path):
            there = name.split(".")
            if there[:2] == ["harness", "analysis"] and ANALYSIS.index(there[2]) > ANALYSIS.index(below[0]):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong


def test_the_walker_sees_imports_wherever_they_hide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "harness"
    (package / "store").mkdir(parents=True)
    file = package / "store" / "x.py"
    file.write_text(
        "from __future__ import annotations\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import harness.report\n"
        "def f():\n    from harness.cli import main\n    from ..plan import build\n    from harness import launch\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "ROOT", package)
    found = {name for _, name in imports(file)}
    assert {"harness.cli", "harness.plan", "harness.launch"} <= found
    assert "harness.report" not in found


@pytest.mark.parametrize(
    ("library", "rooms"),
    [("submitit", {"launch"}), ("matplotlib", {"report"}), ("typer", {"cli"}), ("rich", {"cli", "report"})],
)
def test_some_libraries_have_one_room(library: str, rooms: set[str]) -> None:
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for path in modules()
        for line, name in imports(path)
        if name.split(".")[0] == library and room_of(path) not in rooms
    }
    assert not found


def test_only_the_cli_prints_and_reads_arguments() -> None:
    wrong = []
    for path in modules():
        name = path.relative_to(ROOT).as_posix()
        if room_of(path) in ("cli", "__main__") or name in SCRIPTS:
            continue
        for node in ast.walk(tree_of(path)):
            called = (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "input")
            )
            reads = isinstance(node, ast.Attribute) and node.attr == "argv"
            if called or reads:
                wrong.append(f"{name}:{node.lineno}")
        wrong += [f"{name}:{line} argparse" for line, module in imports(path) if module == "argparse"]
    assert not wrong


HEAVY = ("torch", "transformers", "pandas", "scipy", "matplotlib", "pyarrow", "numpy", "PIL", "datasets", "submitit")


@pytest.mark.parametrize(
    "module",
    [
        "harness.spec",
        "harness.store",
        "harness.plan",
        "harness.cli",
        "harness.analysis",
        "harness.cli.app",
        "harness.cli.planning",
    ],
)
def test_importing_a_room_of_the_front_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert done.stdout.strip() == "[]"
