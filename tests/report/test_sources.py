from __future__ import annotations

from pathlib import Path

import pytest

from harness.analysis import make_table
from harness.analysis.document import to_json
from harness.errors import HarnessError, SpecError
from harness.report.sources import open_sweep
from tests.synthetic import finished_sweep


def test_a_name_and_its_file_are_the_same_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    _, store = finished_sweep(tmp_path)
    by_name = make_table(*open_sweep("pooling", results=store.root))
    by_file = make_table(*open_sweep(str(tmp_path / "pooling.yaml"), results=store.root))
    assert to_json(by_name) == to_json(by_file)
    assert by_name.is_complete
    # The record is enough: neither the file nor the weights are needed any more.
    for path in (tmp_path / "pooling.yaml", tmp_path / "vision" / "config.json"):
        path.unlink()
    assert to_json(make_table(*open_sweep("pooling", results=store.root))) == to_json(by_name)


@pytest.mark.parametrize("name", ["../pooling", "/etc", "a/b", ".."])
def test_names_that_leave_the_results_are_bad_usage(tmp_path: Path, name: str) -> None:
    (tmp_path / "results").mkdir()
    with pytest.raises(SpecError, match="is not the name of a sweep") as caught:
        open_sweep(name, results=tmp_path / "results")
    assert caught.value.exit_code == 2


def test_unknown_names_get_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="No sweep was run there yet"):
        open_sweep("pooling", results=tmp_path)
    folder = tmp_path / "sweeps" / "token_pooling"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text("{}")
    with pytest.raises(HarnessError, match="Did you mean token_pooling"):
        open_sweep("tokenpooling", results=tmp_path)
    with pytest.raises(HarnessError, match="Run there: token_pooling"):
        open_sweep("else", results=tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"stages": []}'])
def test_damaged_records_name_their_file(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "sweeps" / "x"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(content)
    with pytest.raises(HarnessError, match=r"sweep\.json"):
        open_sweep("x", results=tmp_path)


def test_a_finished_sweep_takes_no_overrides(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be overridden"):
        open_sweep("pooling", ["seeds=[1]"], results=tmp_path)
