from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.analysis import SavedSweep, Table, make_table
from harness.analysis.tables.published import published_rows
from harness.report.latex import latex
from harness.report.latex_text import escaped
from harness.report.sheet import Beside
from harness.store import Store
from tests.synthetic import make_plan, record, write_sweep

# What the source may use: booktabs, graphicx and the kernel, all of which work in text with pdflatex's default fonts.
COMMANDS = set(
    re.findall(
        r"\w+",
        """begin end centering footnotesize scriptsize setlength tabcolsep caption label ref toprule midrule bottomrule
        multicolumn emph textbf boldmath par smallskip parbox linewidth resizebox ifdim else fi width
        textbackslash textasciicircum textasciitilde textless textgreater textbar symbol ldots pm Delta approx cdot
        rightarrow times leq geq mu alpha ss""",
    )
)
MATH = {"pm", "Delta", "approx", "cdot", "rightarrow", "times", "leq", "geq", "mu", "alpha"}
NASTY = [
    "[2pt] first",
    "*star",
    "\\input{/etc/passwd}",
    "$x$ & 100% #1 _a_ ^b~ {c}",
    '<b>|"`[*]',
    "é ü 中 α …",
    "\\\\[2pt]*",
    "%\n\\end{table}",
]


def check(source: str) -> None:
    """A small reader of LaTeX: raises where pdflatex would stop, or where a character would mean something else."""
    assert source.isascii()
    depth, in_math, environments, place = 0, False, [], 0
    source = re.sub(r"(?m)(?<!\\)%.*\n", "", source)
    while place < len(source):
        letter = source[place]
        if letter == "\\":
            found = re.compile(r"\\(?:([A-Za-z]+)|(.))", re.DOTALL).match(source, place)
            assert found is not None
            name, sign = found.groups()
            place = found.end()
            if name:
                assert name in COMMANDS, name
                assert (name in MATH) == in_math, name
                if name in ("begin", "end"):
                    environment = re.compile(r"\{(\w+)\}").match(source, place)
                    assert environment is not None
                    if name == "begin":
                        environments.append(environment[1])
                    else:
                        assert environments.pop() == environment[1]
            else:
                assert sign in "{}$&#%_\\'\"`^~=.", sign
                if sign == "\\":
                    assert not re.compile(r"\s*[\[*]").match(source, place), "taken for an argument"
                elif sign in "'\"`^~=.":
                    assert source[place] == "{"
            continue
        if letter == "{":
            depth += 1
        elif letter == "}":
            depth -= 1
            assert depth >= 0
        elif letter == "$":
            in_math = not in_math
        elif letter == "&":
            assert environments[-1] == "tabular"
        elif letter == "~":
            assert source.startswith("~\\ref{", place)
        else:
            assert letter not in "#^_%", source[place - 20 : place + 20]
            assert letter not in '<>|"' or source[place - 11 : place + 1].endswith("width>"), letter
        place += 1
    assert not depth
    assert not in_math
    assert not environments


def cells_of(row: str) -> int:
    """Columns that a row fills."""
    spans = [int(span) - 1 for span in re.findall(r"\\multicolumn\{(\d+)\}", row)]
    return len(re.findall(r"(?<!\\)&", row)) + 1 + sum(spans)


def check_columns(source: str) -> None:
    for columns, body in re.findall(
        r"\\begin\{tabular\}\{@\{\}([lr]+)@\{\}\}\n(.*?)\\end\{tabular\}", source, re.DOTALL
    ):
        rows = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert rows
        assert {cells_of(row) for row in rows} == {len(columns)}


@pytest.mark.parametrize("text", NASTY)
def test_any_text_compiles_and_prints_itself(text: str) -> None:
    check(f"{{{escaped(text)}}}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 % of a_b", r"50 \% of a\_b"),
        ("−20.5 ±25.1", r"$-$20.5 $\pm$25.1"),
        ("é Ł ß", r"\'{e} \L{} \ss{}"),
        ("中", "{[}U+4E2D{]}"),
        ("\\", r"\textbackslash{}"),
        ("[2pt]*", "{[}2pt{]}{*}"),
    ],
)
def test_escapes(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_the_small_reader_can_fail() -> None:
    for wrong in (
        "{a_b}",
        "{\\input{x}}",
        "{$x}",
        "a & b",
        "{a # b}",
        "{",
        "\\begin{table}\n\\end{tabular}",
        "{\\\\ [x]}",
        "é",
    ):
        with pytest.raises((AssertionError, IndexError)):
            check(wrong)


def test_a_table_compiles_and_its_rows_fill_the_columns(table: Table, partial: Table, decided: Table) -> None:
    for each in (table, partial, decided):
        beside = Beside(published=published_rows(["idefics2:T8"], each.sweep.tasks), averages=True)
        source = latex(each, beside)
        check(source)
        check_columns(source)
    assert "\\multicolumn{10}{@{}l@{}}{\\emph{Published: Idefics2 T8, 8-shot}}" in source
    assert "\nMM1 7B" not in source  # always within its own columns
    assert "{MM1 7B} & 63.6 & 46.3 & 51.4 & 116.3 & -- & -- & -- & -- \\\\" in source


def test_the_caption_names_seeds_intervals_and_correction(decided: Table, table: Table) -> None:
    (caption,) = re.findall(r"\\caption\{(How.*)\}", latex(decided))
    assert "95 \\% intervals, Student's t over the seeds (0, 1, 2)" in caption
    assert "corrected by Holm over 3 variants" in caption
    (caption,) = re.findall(r"\\caption\{(How.*)\}", latex(table))
    assert "from the samples, conditional on the trained model (seed 0)" in caption


def test_bold_is_what_is_decided(decided: Table) -> None:
    source = latex(decided)
    (main, *_) = re.findall(r"\\begin\{tabular\}(.*?)\\end\{tabular\}", source, re.DOTALL)
    assert main.count("\\textbf") == sum(row.difference["mean"].verdict == "worse" for row in decided.rows)
    assert "$\\approx$ $-$0" in main or "$\\approx$ +0" in main or "$\\approx$ 0" in main


def test_missing_cells_are_words(partial: Table) -> None:
    assert latex(partial).count("missing &") >= 3


def test_hostile_names_are_text(tmp_path: Path) -> None:
    value = record(make_plan(write_sweep(tmp_path)))
    for variant, name in zip(value["variants"], NASTY, strict=False):
        variant["levels"] = {"to_ke$ns": name, "pooling": NASTY[-1]}
    value["factors"] = {"to_ke$ns": NASTY[:4], "pooling": [NASTY[-1]]}
    value = {**value, "claims": [], "positive_control": None, "notes": NASTY, "question": "\\write18{rm} 100%?"}
    made = make_table(SavedSweep.of(value), Store(tmp_path / "results"))
    source = latex(replace(made, notes=(*made.notes, *NASTY)))
    check(source)
    check_columns(source)
    if shutil.which("pdflatex"):
        set_in_type(source, tmp_path)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed; the small reader stands in for it")
def test_pdflatex_sets_the_tables(table: Table, partial: Table, decided: Table, tmp_path: Path) -> None:
    for number, each in enumerate((table, partial, decided)):
        beside = Beside(published=published_rows(["idefics2:T8"], each.sweep.tasks), averages=True)
        folder = tmp_path / str(number)
        folder.mkdir()
        set_in_type(latex(each, beside), folder)


def set_in_type(source: str, folder: Path) -> None:
    """Raises where pdflatex stops; nothing may stick out of the text either."""
    packages = "\\usepackage{booktabs,graphicx}"
    text = f"\\documentclass{{article}}\n{packages}\n\\begin{{document}}\n{source}\\end{{document}}\n"
    (folder / "x.tex").write_text(text)
    for _ in range(2):  # the second time for the references
        line = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "x.tex"]
        done = subprocess.run(line, cwd=folder, capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, done.stdout[-3000:]
    assert (folder / "x.pdf").exists()
    assert "undefined references" not in done.stdout
    assert not re.findall(r"Overfull \\hbox \(([0-9.]+)pt", done.stdout), done.stdout[-3000:]
