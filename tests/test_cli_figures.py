from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import main
from tests.synthetic import finished_sweep


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep")
    finished_sweep(path)
    return path


def figures(folder: Path, *arguments: str) -> int:
    return main(["figures", *arguments, "--results", str(folder / "results")])


def test_all_that_fit_go_beside_the_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert figures(folder, "pooling") == 0
    out = capsys.readouterr().out
    there = folder / "results" / "sweeps" / "pooling" / "figures"
    assert {path.stem for path in there.iterdir()} == {"forest", "tokens", "fronts", "convergence", "interactions"}
    assert str(there / "forest.svg") in out
    assert "not drawn: seeds, there is one seed" in out


def test_those_asked_for_go_where_they_are_wanted(folder: Path, tmp_path: Path) -> None:
    assert figures(folder, "pooling", "--only", "forest, tokens", "--out", str(tmp_path / "a" / "b")) == 0
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == {
        "forest.svg",
        "forest.png",
        "tokens.svg",
        "tokens.png",
    }


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--only", "forrest"), 2, "Did you mean forest?"),
        (("--only", "zzz"), 2, "There are: forest, tokens"),
        (("--only", "seeds"), 1, "there is one seed"),
        (("--out", __file__), 2, "is not a folder"),
        (("--out", f"{__file__}/x"), 1, "cannot be written"),
    ],
)
def test_what_cannot_be_drawn_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, str], code: int, said: str
) -> None:
    assert figures(folder, "pooling", *arguments) == code
    assert said in capsys.readouterr().err
