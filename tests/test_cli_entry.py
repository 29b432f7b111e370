"""Exit codes, errors without tracebacks, help."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import app as commands
from harness.cli import main
from harness.errors import HarnessError, SpecError
from tests.synthetic import write_sweep


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_help_is_short_and_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "harness run ablations/token_pooling.yaml" in text
    assert "Exit codes: 0 complete, 1 error, 2 bad spec or usage, 3 incomplete." in text
    for command in ("run", "plan", "status", "table", "claims", "figures", "notebook", "data", "doctor", "lm-eval"):
        assert re.search(rf"^  {command}\s", text, re.MULTILINE), command
    assert len(text.splitlines()) < 48  # one screen
    assert "..." not in text.split("Commands:")[1]  # no help text is cut


@pytest.mark.parametrize("command", ["run", "plan", "status", "table", "claims", "figures", "notebook", "doctor"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "--results" in text
    assert "Exit codes" in text


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys\nfrom harness.cli import main\nmain(['--help'])\n"
        "heavy = ('torch', 'transformers', 'pandas', 'numpy', 'pydantic', 'omegaconf', 'rich', 'matplotlib', 'scipy')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan"],
        ["plan", "none.yaml"],
        ["frobnicate"],
        ["plan", "--frobnicate", "x.yaml"],
        ["table", "../secret"],
        ["table", "a/b"],
        ["run", "none.yaml", "--processes", "-1"],
        ["run", "none.yaml", "--cluster", "kubernetes"],
        ["run", "none.yaml", "--wait"],
        ["table", "x", "--json", "--csv"],
        ["table", "x", "--out", "table.docx"],
    ],
)
def test_bad_usage_is_2_and_one_message(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert err.strip()
    assert "Traceback" not in out + err
    assert not (tmp_path / "results").exists()


def test_an_unknown_sweep_is_an_error_not_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "nothing", "--results", str(tmp_path)]) == 1
    assert "no sweep called nothing" in capsys.readouterr().err


def test_spec_errors_name_place_and_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_sweep(tmp_path, tranining={"batch_size": 3})
    assert main(["plan", str(file)]) == 2
    err = capsys.readouterr().err
    assert re.search(r"pooling\.yaml:\d+:\d+: tranining: unknown key", err)
    assert "training" in err
    assert "Traceback" not in err


def failing(error: BaseException) -> object:
    def run(arguments: list[str]) -> int:
        raise error

    return run


def test_errors_for_users_are_printed_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "run", failing(HarnessError("the disk is full", "free some space")))
    assert main(["run", "x.yaml"]) == 1
    assert capsys.readouterr().err == "error: the disk is full\n  → free some space\n"
    monkeypatch.setattr(commands, "run", failing(SpecError("bad")))
    assert main(["run", "x.yaml"]) == 2


def test_unforeseen_errors_leave_a_log_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    monkeypatch.setattr(commands, "run", failing(ZeroDivisionError("division by zero\nmore")))
    assert main(["plan", "x.yaml"]) == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError: division by zero" in err
    assert "more" not in err
    assert "Traceback" not in err
    (log,) = (cache / "errors").glob("*.txt")
    assert str(log) in err
    assert "harness plan x.yaml" in log.read_text()
    assert "Traceback" in log.read_text()


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "run", failing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["plan", "x.yaml", "--debug"])
    monkeypatch.setattr(commands, "run", failing(HarnessError("x")))
    with pytest.raises(HarnessError):
        main(["plan", "x.yaml", "--debug"])


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(commands, "run", failing(KeyboardInterrupt()))
    assert main(["run", "x.yaml", "seeds=[0, 1]"]) == 3
    assert "go on with: harness run x.yaml 'seeds=[0, 1]'" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    file = write_sweep(tmp_path)
    command = f"{sys.executable} -m harness plan {file} 'seeds=[0,1,2,3,4,5,6,7,8,9]' --json | head -1"
    environment = {**os.environ, "HARNESS_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_lm_eval_gets_its_arguments_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.evaluate import lm_eval_bridge

    heard: list[list[str]] = []

    def hand_over(arguments: list[str]) -> int:
        heard.append(list(arguments))
        return 4

    monkeypatch.setattr(lm_eval_bridge, "main", hand_over)
    assert main(["lm-eval", "--tasks", "harness_coco", "-h", "--debug", "x"]) == 4
    assert heard == [["--tasks", "harness_coco", "-h", "--debug", "x"]]
