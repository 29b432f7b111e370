from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main
from tests.synthetic import finished_sweep


def test_the_table_of_an_export_is_that_of_the_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished_sweep(tmp_path, seeds=[0, 1])
    results, out = tmp_path / "results", tmp_path / "given" / "away"
    assert main(["export", "pooling", "--out", str(out), "--results", str(results)]) == 0
    assert f"harness table pooling --results {out}" in capsys.readouterr().out
    assert main(["table", "pooling", "--json", "--results", str(results)]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert main(["table", "pooling", "--json", "--results", str(out)]) == 0
    assert json.loads(capsys.readouterr().out) == whole
    assert whole["complete"]
    assert not list(out.rglob("out.bin"))
    assert not any(str(tmp_path) in path.read_text() for path in out.rglob("*.json"))


def test_an_export_is_complete_without_its_features_but_not_onto_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finished_sweep(tmp_path)
    results, out = tmp_path / "results", tmp_path / "out"
    assert main(["export", "pooling", "--out", str(out), "--results", str(results)]) == 0
    assert main(["status", "pooling", "--results", str(out)]) == 0
    said = capsys.readouterr().out
    assert "4 of 4 runs complete; 26 stages: 24 done, 2 not here and not needed" in said
    assert "waiting" not in said
    assert main(["export", "pooling", "--out", str(out), "--results", str(out)]) == 2
    assert "is the results folder itself" in capsys.readouterr().err
    assert main(["table", "pooling", "--results", str(tmp_path / "typo")]) == 1
    assert "there is no results folder" in capsys.readouterr().err


def test_a_sweep_that_was_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results").mkdir()
    assert main(["export", "nothing", "--out", str(tmp_path / "x"), "--results", str(tmp_path / "results")]) == 1
    assert "no sweep called nothing" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
