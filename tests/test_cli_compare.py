from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.plan import Plan
from harness.store import Store
from tests.sample_logs import asked, lines, write
from tests.synthetic import (
    TASKS,
    finish,
    make_plan,
    parquet_bytes,
    random_scores,
    rows,
    save_record,
    train_summary,
    write_sweep,
)

SEEDS = (0, 1, 2)
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan, Store]:
    """A finished sweep with three seeds, asked the prompts of the logs, and an import of all its benchmarks."""
    folder = tmp_path_factory.mktemp("sweep")
    plan = make_plan(write_sweep(folder, seeds=list(SEEDS)))
    store = Store(folder / "results")
    for run in plan.runs:
        for stage_id in (*run.features, *run.train):
            finish(store, plan.stages[stage_id], {"out.bin": b"x"}, train_summary())
        for task in TASKS:
            content = asked(rows(run.variant.name, task, run.seed, random_scores()))
            finish(store, plan.stages[run.evaluate[task]], {"scores.parquet": parquet_bytes(content)})
    save_record(plan, store)
    logs = [str(write(folder / f"samples_{task}.jsonl", lines(task, random_scores()))) for task in TASKS]
    assert main(["import", *logs, "--name", "elsewhere", "--results", str(store.root)]) == 0
    return folder, plan, store


def run(made: tuple[Path, Plan, Store], *arguments: str) -> int:
    return main([*arguments, "--results", str(made[2].root)])


def compared(made: tuple[Path, Plan, Store], capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run(made, "compare", *arguments, "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_two_variants_agree_with_the_table(made: tuple[Path, Plan, Store], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    run(made, "table", "pooling", "--json")
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    found = compared(made, capsys, "baseline", "4,average")
    assert found["second"] == "tokens=4,pooling=average"
    for each in found["benchmarks"]:
        expected = rows["tokens=4,pooling=average"]["difference"][each["benchmark"]]
        for key in ("mean", "low", "high", "p", "seeds"):
            assert each["difference"][key] == expected[key]
    assert found["min_effect"] == 3.0


@pytest.mark.parametrize("width", ["80", "120"])
def test_the_terminal(
    made: tuple[Path, Plan, Store], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setattr("harness.cli.console.WIDTH", int(width))
    assert run(made, "compare", "tokens=9,pooling=perceiver", "tokens=9,pooling=average", "--sweep", "pooling") == 0
    out = capsys.readouterr().out
    assert all(len(line) <= int(width) for line in out.splitlines())
    assert "…" not in out
    assert "TextVQA, unseen_signs" in " ".join(out.split()) or width == "80"
    assert "(baseline) (3 seeds)" in " ".join(out.split())
    assert out.count("answer ") == 40


def test_what_is_decided_is_marked_in_a_pipe_too(capsys: pytest.CaptureFixture[str]) -> None:
    examples = str(ROOT / "results" / "examples")
    assert main(["compare", "baseline", "36,average", "--sweep", "token_pooling", "--results", examples]) == 0
    out = capsys.readouterr().out
    lines = out.split("\n\n")[1].splitlines()[1:]
    decided = [line for line in lines if " better " in line or " worse " in line]
    assert decided == [line for line in lines if "*" in line]
    assert 0 < len(decided) < len(lines)
    assert "*: better or worse" in out
    assert "Bold" not in out


def test_stages_files_and_imports(made: tuple[Path, Plan, Store], capsys: pytest.CaptureFixture[str]) -> None:
    _, plan, store = made
    first, second = plan.runs[0], plan.runs[-1]
    ids = [run.evaluate["coco"] for run in (first, second)]
    by_stage = compared(made, capsys, *ids)
    folders = [str(store.path(plan.stages[each])) for each in ids]
    by_folder = compared(made, capsys, *folders)
    by_file = compared(made, capsys, *(f"{folder}/scores.parquet" for folder in folders))
    assert by_stage["benchmarks"] == by_folder["benchmarks"] == by_file["benchmarks"]
    assert [each["benchmark"] for each in by_stage["benchmarks"]] == ["coco"]
    whole = compared(made, capsys, first.train[-1], second.train[-1])
    assert [each["benchmark"] for each in whole["benchmarks"]] == [*TASKS, "mean"]
    assert whole["benchmarks"][3] == by_stage["benchmarks"][0]
    imported = compared(made, capsys, first.train[-1], "elsewhere")
    assert imported["second"] == "elsewhere (imported)"
    assert [each["benchmark"] for each in imported["benchmarks"]] == [*TASKS, "mean"]
    again = compared(made, capsys, first.train[-1], str(store.root / "imported" / "elsewhere"))
    assert again == imported
    against = compared(made, capsys, "baseline", "elsewhere")
    assert against["seeds"] == [3, 1]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["4", "9"], 2, "4 is not one variant of pooling"),
        (["baseline", "nothing"], 2, "pooling has no variant nothing, and it is no file"),
        (["baseline", "9,perceiver"], 1, "are the same"),
        (["baseline", "x", "--sweep", "poling"], 1, "Did you mean pooling"),
        (["baseline", "4,average", "seeds=[0]"], 2, "keys belong to a sweep file"),
        (["baseline", "log.jsonl"], 2, "Import it first: harness import log.jsonl"),
    ],
)
def test_what_cannot_be_is_said(
    made: tuple[Path, Plan, Store], capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    capsys.readouterr()
    assert run(made, "compare", *arguments) == code
    assert message in capsys.readouterr().err


def test_an_imported_model_gets_a_row(
    made: tuple[Path, Plan, Store], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    capsys.readouterr()
    assert run(made, "table", "pooling", "--json") == 0
    plain = json.loads(capsys.readouterr().out)
    assert run(made, "table", "pooling", "--with", "elsewhere", "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert value["rows"] == plain["rows"]  # nobody's verdict hangs on who stands beside
    (row,) = value["imported"]
    scorer = random_scores()
    mean = sum(scorer("elsewhere", "coco", 0, "intact", n) for n in range(12)) / 12
    assert row["scores"]["coco"]["mean"] == pytest.approx(mean, abs=1e-5)
    assert row["scores"]["coco"]["n"] == 12
    base = value["rows"][0]["scores"]["coco"]["mean"]
    assert row["difference"]["coco"]["mean"] == pytest.approx(mean - base, abs=1e-5)
    assert row["difference"]["coco"]["basis"] == "mixed"
    for form, expected in (
        ("--markdown", "| Imported: elsewhere |"),
        ("--latex", "\\emph{Imported}"),
        ("--csv", ",imported,elsewhere,"),
    ):
        assert run(made, "table", "pooling", "--with", "elsewhere", form) == 0
        assert expected in capsys.readouterr().out
    assert run(made, "table", "pooling", "--with", "elsewhere", "--published", "idefics2:T8") == 0
    out = capsys.readouterr().out
    assert "imported" in out
    assert "published Idefics2 T8, 8-shot" in " ".join(out.split())
    assert all(len(line) <= 120 for line in out.splitlines())


def test_an_import_that_was_asked_something_else_gets_none(
    made: tuple[Path, Plan, Store], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, _, store = made
    log = write(tmp_path / "few.jsonl", lines("coco", random_scores(), samples=10))
    assert run(made, "import", str(log), "--name", "few") == 0
    capsys.readouterr()
    assert run(made, "table", "pooling", "--with", "few") == 1
    assert "few cannot stand beside pooling: on coco the samples differ (2 are not in both)" in capsys.readouterr().err
    assert run(made, "compare", "baseline", "few") == 1
    assert "cannot be compared on coco" in capsys.readouterr().err
    assert run(made, "table", "pooling", "--with", "nobody") == 1
    assert "Imported there: elsewhere" in capsys.readouterr().err
    folder = store.root / "imported" / "few"
    (folder / "coco.parquet").write_bytes(b"PAR1")
    assert run(made, "table", "pooling", "--with", "few") == 1
    assert "coco.parquet was changed since" in capsys.readouterr().err
    shutil.rmtree(folder)


def test_a_bad_log_names_its_line(
    made: tuple[Path, Plan, Store], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    content = lines("coco", random_scores())
    content[4]["cider-d"] = float("nan")
    log = write(tmp_path / "nan.jsonl", content)
    assert run(made, "import", str(log), "--name", "nan") == 1
    assert f"{log}:5: the score cider-d is nan" in capsys.readouterr().err
    assert not (made[2].root / "imported" / "nan").exists()
