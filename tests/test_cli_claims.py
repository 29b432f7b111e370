from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main
from tests.synthetic import finished_sweep


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep")
    finished_sweep(path)
    contrast = {"pooling": ["average", "perceiver"]}
    claims = [{"id": "I2-12", "contrast": contrast, "expect": "better"}]
    finished_sweep(path, name="second", claims=claims)
    finished_sweep(path, name="third", claims=[], positive_control=None)
    return path


def claims(folder: Path, *arguments: str) -> int:
    return main(["claims", *arguments, "--results", str(folder / "results")])


def test_a_sweep_in_every_form(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert claims(folder, "pooling") == 0
    text = capsys.readouterr().out
    assert text.startswith("I2-13: ")
    assert all(len(line) <= 100 for line in text.splitlines())
    assert "\x1b" not in text
    assert claims(folder, "pooling", "--markdown") == 0
    assert capsys.readouterr().out.startswith("# pooling: claims of the literature\n")
    assert claims(folder, "pooling", "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert [each["id"] for each in value["claims"]] == ["I2-13"]
    assert value["claims"][0]["verdict"] in ("replicated", "contradicted", "undecided")
    assert {"HB-04", "MM-05"} <= {claim for each in value["literature_conflicts"] for claim in each["claims"]}


def test_a_file_with_overrides(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert claims(folder, str(folder / "pooling.yaml"), "seeds=[0,1]", "--json") == 0
    assert json.loads(capsys.readouterr().out)["name"] == "pooling"


def test_the_summary_counts_all_sweeps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert claims(folder, "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["claims"], value["tested"], value["distinct"]) == (2, 2, 2)
    assert value["replicated"] + value["contradicted"] + value["undecided"] == 2
    assert set(value["sweeps"]) == {"pooling", "second", "third"}
    assert value["sign_agreement"]["measured"]["count"] == 1
    assert claims(folder) == 0
    text = capsys.readouterr().out
    assert "2 claims (2 different) in 3 sweeps" in text
    assert "Where the literature disagrees with itself" in text


def test_a_sweep_that_cannot_be_read_does_not_hide_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finished_sweep(tmp_path)
    for name, content in (("old", '{"format": 1, "stages": []}'), ("torn", "{")):
        path = tmp_path / "results" / "sweeps" / name / "sweep.json"
        path.parent.mkdir()
        path.write_text(content)
    assert claims(tmp_path, "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert value["tested"] == 1
    assert set(value["unread"]) == {"old", "torn"}
    assert "format 1" in value["unread"]["old"]


@pytest.mark.parametrize(("name", "start"), [("c.md", "# "), ("new/c.json", "{")])
def test_out_goes_by_the_suffix(folder: Path, tmp_path: Path, name: str, start: str) -> None:
    for source in (["pooling"], []):
        assert claims(folder, *source, "--out", str(tmp_path / name)) == 0
        assert (tmp_path / name).read_text().startswith(start)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["third"], 1, "makes no claims"),
        (["poling"], 1, "did you mean pooling?"),
        (["pooling", "seeds=[1]"], 2, "cannot be overridden"),
        (["../pooling"], 2, "leave the results folder"),
        (["pooling", "--json", "--markdown"], 2, "exclude each other"),
        (["pooling", "--out", "claims.txt"], 2, "does not say which format"),
    ],
)
def test_mistakes(folder: Path, arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert claims(folder, *arguments) == code
    err = capsys.readouterr().err
    assert said.lower() in err.lower()
    assert "Traceback" not in err


def test_without_any_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert claims(tmp_path) == 1
    assert "no sweep was run" in capsys.readouterr().err
