from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from harness.cli import main
from tests.synthetic import finished_sweep, make_plan, save_record


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep")
    finished_sweep(path)
    return path


def table(folder: Path, *arguments: str) -> int:
    return main(["table", *arguments, "--results", str(folder / "results")])


def test_by_name_in_every_form(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table(folder, "pooling") == 0
    assert "tokens=9" in capsys.readouterr().out
    assert table(folder, "pooling", "--markdown") == 0
    assert "| 9 | perceiver |" in capsys.readouterr().out
    assert table(folder, "pooling", "--csv") == 0
    assert len(list(csv.reader(io.StringIO(capsys.readouterr().out)))) == 5
    assert table(folder, "pooling", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 4


def test_by_file_with_overrides(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table(folder, str(folder / "pooling.yaml"), "seeds=[0,1]", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["seeds_done"] for row in rows] == [[0]] * 4
    assert {row["status"] for row in rows} == {"incomplete"}


@pytest.mark.parametrize(
    ("name", "start"),
    [("t.md", "# pooling"), ("t.csv", "tokens,pooling"), ("t.json", "{"), ("t.tex", "% \\usepackage{booktabs")],
)
def test_out_goes_by_the_suffix(folder: Path, tmp_path: Path, name: str, start: str) -> None:
    out = tmp_path / "new" / name
    assert table(folder, "pooling", "--out", str(out)) == 0
    assert out.read_text().startswith(start)


def test_results_that_the_last_record_does_not_name_are_pointed_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, store = finished_sweep(tmp_path, seeds=[0, 1])
    save_record(make_plan(tmp_path / "pooling.yaml", ["seeds=[1,7]"]), store)
    assert table(tmp_path, "pooling") == 0
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "the seeds 1,7" in err
    assert "finished evaluations of the seeds 0: harness table FILE seeds=[0]" in err
    save_record(make_plan(tmp_path / "pooling.yaml", ["seeds=[1,7]", "evaluation.shots=2"]), store)
    assert table(tmp_path, "pooling") == 0
    assert capsys.readouterr().err == "", "they were asked something else"


def test_out_says_where_it_wrote_and_which_folder_it_made(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "deep" / "t.md"
    assert table(folder, "pooling", "--out", str(out)) == 0
    assert capsys.readouterr().out == f"{out} (in the new folder {tmp_path / 'new'})\n"
    assert table(folder, "pooling", "--out", str(out)) == 0
    assert capsys.readouterr().out == f"{out}\n"


def test_out_that_cannot_be_written_is_an_error(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert table(folder, "pooling", "--out", str(tmp_path / "file" / "t.md")) == 1
    err = capsys.readouterr().err
    assert f"{tmp_path / 'file' / 't.md'} cannot be written" in err
    assert "--out" in err


def test_out_may_be_told_the_form(folder: Path, tmp_path: Path) -> None:
    assert table(folder, "pooling", "--csv", "--out", str(tmp_path / "table.txt")) == 0
    assert (tmp_path / "table.txt").read_text().startswith("tokens,pooling")
    assert table(folder, "pooling", "--csv", "--out", str(tmp_path)) == 2


def test_lines_without_a_terminal_are_no_wider_than_120(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(folder, "pooling")
    out = capsys.readouterr().out
    assert all(len(line) <= 120 for line in out.splitlines())
    assert "\x1b" not in out


def test_damaged_scores_are_an_error_that_names_the_file_and_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, store = finished_sweep(tmp_path)
    path = store.path(plan.stages[plan.runs[1].evaluate["okvqa"]]) / "scores.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    assert table(tmp_path, "pooling") == 1
    err = capsys.readouterr().err
    assert str(path) in err
    assert "harness run --repair" in err


def test_bootstrap_intervals_on_request(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table(folder, "pooling", "--json", "--bootstrap") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows[1]["difference"]["mean"]["bootstrap"]["low"] < rows[1]["difference"]["mean"]["mean"]
    assert table(folder, "pooling", "--json") == 0
    assert "bootstrap" not in capsys.readouterr().out
    assert table(folder, "pooling", "--bootstrap") == 2
    assert "--json --bootstrap" in capsys.readouterr().err
