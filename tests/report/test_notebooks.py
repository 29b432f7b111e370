from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.report.notebooks import FOLDER, render
from tests.synthetic import finished_sweep

SOURCE = """\
# %% tags=["parameters"]
NAME = "nobody"  # who
COUNT = 1

# %%
print(NAME * COUNT)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "small.py"
    path.write_text(SOURCE)
    return path


def read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text())
    return value


def test_parameters_are_set_and_cells_executed(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "small.ipynb"
    render(source, {"NAME": "né"}, out)
    first, second = read(out)["cells"]
    assert "".join(first["source"]) == 'NAME = "né"  # who\nCOUNT = 1'
    assert second["outputs"][0]["text"] == ["né\n"]
    once = out.read_bytes()
    render(source, {"NAME": "né"}, out)
    assert out.read_bytes() == once


@pytest.mark.parametrize("parameters", [{"OTHER": 1}, {"NAME": "x", "second": 2}])
def test_unknown_parameters_are_refused(source: Path, tmp_path: Path, parameters: dict[str, Any]) -> None:
    with pytest.raises(HarnessError, match=r"no parameter .* \(it has: NAME, COUNT\)"):
        render(source, parameters, tmp_path / "x.ipynb")


def test_a_failing_cell_is_an_error_and_leaves_no_file(source: Path, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"a cell of small\.py failed: TypeError"):
        render(source, {"COUNT": 0.5}, tmp_path / "x.ipynb")
    assert not (tmp_path / "x.ipynb").exists()


def test_a_missing_notebook_says_where_they_are(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="come with a checkout"):
        render(tmp_path / "none.py", {}, tmp_path / "x.ipynb")


def test_the_overview_shows_table_figure_and_predictions(tmp_path: Path) -> None:
    _, store = finished_sweep(tmp_path)
    out = tmp_path / "overview.ipynb"
    render(FOLDER / "overview.py", {"SWEEP": "pooling", "RESULTS": str(store.root)}, out)
    outputs = [output for cell in read(out)["cells"] for output in cell.get("outputs", [])]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert {"text/markdown", "image/png", "text/html"} <= kinds
    assert not [output for output in outputs if output["output_type"] in ("error", "stream")]
    table = next("".join(o["data"]["text/markdown"]) for o in outputs if "text/markdown" in o.get("data", {}))
    assert "| 9 | perceiver |" in table
    assert out.stat().st_size < 300_000


def test_the_rendered_overview_belongs_to_its_source() -> None:
    """The notebook in git shows what its source would show: the same cells, parameters aside, all executed."""
    import jupytext

    rendered = FOLDER / "overview.ipynb"
    if not rendered.exists():
        pytest.skip("the overview is rendered from a full run of the main ablation, which is not in git yet")
    source = jupytext.read(FOLDER / "overview.py")
    cells = read(rendered)["cells"]
    assert ["".join(cell["source"]) for cell in cells] == [cell["source"] for cell in source.cells]
    codes = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in codes)
    assert rendered.stat().st_size < 500_000
