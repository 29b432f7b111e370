from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from harness.analysis import SavedSweep, Table, make_table
from harness.analysis.document import to_json
from harness.analysis.statistics.intervals import Interval
from harness.analysis.tables.table import Difference
from harness.report import cells
from harness.report.spreadsheet import csv_text
from harness.report.table import contrast_lines, markdown
from harness.store import Store
from tests.report.conftest import make
from tests.synthetic import make_plan, record, write_sweep

FORMULA = "=cmd|'/c calc'!A1"
MARKUP = "<b>|x|</b> [a](http://e.vil) `y`"


def nasty(folder: Path) -> Table:
    """A table from a record that somebody else wrote: a spec would refuse such names."""
    plan = make_plan(write_sweep(folder))
    value = record(plan)
    for variant in value["variants"]:
        variant["levels"] = {"tokens": FORMULA, "pooling": MARKUP}
    value["factors"] = {"tokens": [FORMULA], "pooling": [MARKUP]}
    return make_table(SavedSweep.of({**value, "claims": [], "positive_control": None}), Store(folder / "results"))


@pytest.mark.parametrize(
    ("interval", "brief", "full"),
    [
        (Interval(84.25, 82.0, 86.5), "84.2 ±2.2", "84.2 [82.0, 86.5]"),
        (Interval(0.0, 0.0, 1.8), "0.0 [0.0, 1.8]", "0.0 [0.0, 1.8]"),
        (Interval(5.0, None, None), "5.0", "5.0"),
        (None, "–", "–"),
    ],
)
def test_scores_as_text(interval: Interval | None, brief: str, full: str) -> None:
    assert (cells.short(interval), cells.long(interval)) == (brief, full)


def test_differences_carry_a_sign_and_no_negative_zero() -> None:
    assert cells.long(Interval(-3.14, -5.0, 1.26), signed=True) == "−3.1 [−5.0, +1.3]"
    assert cells.points(-0.04, signed=True) == "0.0"
    assert cells.points(-0.04) == "0.0"


def test_markdown_has_a_row_a_variant_and_every_column(table: Table) -> None:
    text = markdown(table)
    head, rule, *body = [line for line in text.splitlines() if line.startswith("|")][:6]
    for name in ("tokens", "pooling", "VQAv2", "TextVQA", "OK-VQA", "COCO", "mean", "Δ mean", "verdict", "blind"):
        assert f"| {name} |" in head
    for name in ("visual tokens", "train time"):
        assert f" {name} |" in head
    # What all variants share is no column.
    assert not any(f" {name} |" in head for name in ("parameters", "trained", "train FLOPs", "seeds"))
    assert (
        "The same for all variants: 1.00 k parameters, 600 of them trained, 5.00 GFLOPs of training, 1/1 seeds." in text
    )
    assert all(line.count("|") == head.count("|") for line in (rule, *body))
    assert len(body) == 4
    assert "baseline" in body[0]
    names = [cell.strip() for cell in head.split("|")]
    for row, line in zip(table.rows, body, strict=True):
        shown = dict(zip(names, (cell.strip() for cell in line.split("|")), strict=True))
        assert shown["blind"] == cells.points(row.scores["mean"].blind)  # type: ignore[union-attr]
        assert shown["COCO"] == cells.score(row.scores["coco"])
        assert shown["Δ mean"].strip("*") == cells.difference(row.difference["mean"], row)
        assert shown["verdict"] == ("–" if row.variant.is_baseline else cells.verdict(row.difference["mean"]))
        assert (shown["visual tokens"], shown["train time"]) == (row.variant.levels["tokens"], "25 s")
    assert re.search(r"\| \d+\.\d \[\d+\.\d, \d+\.\d\] \|", body[1])
    assert "I2-13 (Idefics2 T4): mean, tokens 4 → 9 at pooling=perceiver, expected equivalent, measured" in text
    assert "positive control: TextVQA" in text
    assert "conditional on the trained model" in text


def test_markdown_shows_what_is_missing(partial: Table) -> None:
    text = markdown(partial)
    assert "0/1 (missing)" in text
    assert "## Not complete" in text
    assert "tokens=4,pooling=perceiver: missing, seed 0 has not run" in text
    assert "measured nothing yet (no seed has both scores)" in text


def test_markdown_shows_names_as_they_are(tmp_path: Path) -> None:
    text = markdown(nasty(tmp_path))
    line = next(line for line in text.splitlines() if "b>" in line)
    assert "&lt;b>\\|x\\|&lt;/b> \\[a\\](http://e.vil) \\`y\\`" in line
    unescaped = re.sub(r"\\.", "", line)
    assert unescaped.count("|") == text.splitlines()[6].count("|")


def test_csv_reads_back_as_numbers(table: Table) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(table))))
    assert len(rows) == 4
    first, second = rows[0], rows[1]
    assert (first["tokens"], first["pooling"], first["baseline"], first["seeds"]) == ("9", "perceiver", "True", "1")
    value = to_json(table)["rows"][1]
    for key in ("vqav2", "textvqa", "okvqa", "coco", "mean"):
        assert float(second[key]) == value["scores"][key]["mean"]
        assert float(second[f"{key}_low"]) == value["scores"][key]["low"]
        assert float(second[f"{key}_blind"]) == value["scores"][key]["blind"]
        assert float(second[f"{key}_difference"]) == value["difference"][key]["mean"]
        assert float(second[f"{key}_difference_high"]) == value["difference"][key]["high"]
    assert int(second["parameters"]) == 1000
    assert float(second["train_flops"]) == 5e9
    assert any(float(row["mean_difference"]) < 0 for row in rows)  # numbers keep their sign, they are no formulas


def test_csv_leaves_missing_cells_empty(partial: Table) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(partial))))
    assert rows[1]["status"] == "missing"
    assert rows[1]["mean"] == rows[1]["mean_difference"] == rows[1]["train_seconds"] == ""


def test_csv_holds_no_formulas(tmp_path: Path) -> None:
    rows = list(csv.reader(io.StringIO(csv_text(nasty(tmp_path)))))
    for row in rows:
        for cell in filter(None, row):
            if cell[0] in "=+-@\t\r|%":
                float(cell)
    assert any(cell == f"'{FORMULA}" for row in rows for cell in row)


def test_a_refused_difference_is_not_a_gap(table: Table) -> None:
    row = table.rows[1]
    assert cells.difference(Difference(None, reason="not comparable: the prompts differ"), row) == "n/c"
    assert cells.difference(Difference(None, reason="no seed has both scores"), row) == cells.NOTHING


def test_several_pairs_are_told_apart(tmp_path: Path) -> None:
    claims = [{"id": "I2-13", "contrast": {"tokens": [4, 9]}, "expect": "equivalent"}]
    made, _ = make(tmp_path, claims=claims, positive_control=None)
    total, *lines = contrast_lines(made)
    assert re.search(r"measured .*: (replicated|contradicted|undecided)", total)
    assert len(lines) == 2
    assert lines[0].endswith("(tokens=9,pooling=perceiver − tokens=4,pooling=perceiver)")
    assert lines[1].endswith("(tokens=9,pooling=average − tokens=4,pooling=average)")
