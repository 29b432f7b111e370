"""Notebooks: percent-format sources with one cell of parameters, executed and written as ``.ipynb``."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.store import write_bytes

FOLDER = Path(__file__).parents[2] / "notebooks"
"""There in a checkout, absent where only the package is installed."""

PARAMETERS = "parameters"
TIMEOUT_SECONDS = 600


def render(source: Path, parameters: Mapping[str, Any], out: Path) -> None:
    """Executes a notebook with other parameters and writes it with its outputs.

    Raises ``HarnessError`` for a parameter that the notebook does not have, and when a cell fails.
    """
    import jupytext
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    if not source.is_file():
        raise HarnessError(
            f"the notebook {source} is not here", "Notebooks come with a checkout of the project, not with the package."
        )
    notebook = jupytext.read(source)
    _set(notebook, parameters, source)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(source.parent)}},
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
    )
    try:
        client.execute()
    except CellExecutionError as error:
        raise HarnessError(
            f"a cell of {source.name} failed: {error.ename}: {error.evalue}", "See whether `harness table` works."
        ) from error
    except (RuntimeError, TimeoutError) as error:  # the kernel did not start, died, or took too long
        raise HarnessError(
            f"{source.name} could not be executed: {error}", "Check that `python -m ipykernel --version` works here."
        ) from error
    _settle(notebook)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, nbformat.writes(notebook).encode() + b"\n")


def _set(notebook: Any, parameters: Mapping[str, Any], source: Path) -> None:
    """Replaces the values in the cell that is tagged ``parameters``; comments beside them stay."""
    cell = next((cell for cell in notebook.cells if PARAMETERS in cell.metadata.get("tags", [])), None)
    if cell is None:
        raise HarnessError(f"{source} has no cell tagged {PARAMETERS}")
    lines = cell.source.splitlines()
    places = {
        node.targets[0].id: node
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for name, value in parameters.items():
        node = places.get(name)
        if node is None or node.lineno != node.end_lineno:
            raise HarnessError(f"{source} has no parameter {name} (it has: {', '.join(places)})")
        line = lines[node.lineno - 1].encode()
        lines[node.lineno - 1] = f"{name} = {_literal(value)}{line[node.end_col_offset :].decode()}"
    cell.source = "\n".join(lines)


def _literal(value: Any) -> str:
    """Python source of a value, strings in double quotes as in the sources."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _settle(notebook: Any) -> None:
    """Leaves nothing in the file that differs from one execution to the next."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    for number, cell in enumerate(notebook.cells, 1):
        cell["id"] = f"cell-{number}"
        cell.metadata.pop("execution", None)
