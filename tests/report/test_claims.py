from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness.analysis import ClaimResult, SavedSweep, Table, make_table
from harness.analysis.claims.agreement import Summary
from harness.analysis.claims.judgements import Judgement
from harness.analysis.claims.results import claim_results
from harness.report.claims import Block, claim_blocks, claim_lines, markdown, render, summary_blocks
from harness.report.layout import width
from harness.report.markup import escaped, plain
from harness.report.table import contrast_lines
from harness.store import Store
from tests.report.conftest import make
from tests.synthetic import make_plan, record, write_sweep

HOSTILE = "<b>|x|</b> [a](http://e.vil) `y` \x1b[31mred\x07 \u202eback *z* [bold]q[/bold]\nnext"


def printed(blocks: list[Block], columns: int = 120) -> str:
    buffer = io.StringIO()
    Console(file=buffer, width=columns, highlight=False).print(render(blocks))
    return buffer.getvalue()


def flat(blocks: list[Block]) -> str:
    return " ".join(printed(blocks).split())


@pytest.fixture(scope="module")
def results(table: Table) -> tuple[ClaimResult, ...]:
    return claim_results(table)


def test_a_block_says_what_the_paper_found_and_what_we_did(results: tuple[ClaimResult, ...]) -> None:
    text = flat(claim_blocks(results))
    verdict = results[0].judgement.verdict
    for part in (
        "Idefics2 T4 (arXiv 2405.02246): n_visual_tokens, to be checked as equivalence",
        "64 → 128 on avg(VQAv2,TextVQA,OKVQA,COCO), 4-shot, avg_score: 71.7 → 71.2, −0.5",
        "mean, tokens 4 → 9 at pooling=perceiver; expected equivalent within ±1 points (the noise",
        f"{verdict}: ",
        "conditional on the trained models",
        "6k steps; 4-shot; equal steps & batch",
        "not equal visual tokens 4 → 9 (× 2.25)",
        "conflict: MM-05, MM1",
        "conflict: HB-04, Honeybee T3",
        "support: PR-05, Prismer T6",
    ):
        assert part in text, part


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_pages_are_at_most_100_columns(results: tuple[ClaimResult, ...], columns: int) -> None:
    for blocks in (claim_blocks(results), summary_blocks(Summary({"a" * 60: results}, {"b": "damaged " * 40}))):
        assert all(width(line.rstrip()) <= min(columns, 100) for line in printed(blocks, columns).splitlines())


def test_markdown_has_every_line(results: tuple[ClaimResult, ...]) -> None:
    blocks = claim_blocks(results)
    text = markdown("pooling", blocks)
    assert text.startswith("# pooling\n\n## I2-13: ")
    assert sum(line.lstrip().startswith("- ") for line in text.splitlines()) == sum(
        len(block.lines) for block in blocks
    )
    assert "- not equal: visual tokens 4 → 9" in text


def test_names_of_others_are_shown_and_do_nothing(tmp_path: Path) -> None:
    """A record that somebody else wrote: a spec would refuse such names."""
    value = record(make_plan(write_sweep(tmp_path)))
    for variant in value["variants"]:
        variant["levels"] = {f"{HOSTILE} tokens" if k == "tokens" else k: v for k, v in variant["levels"].items()}
    (entry,) = value["claims"]
    value["claims"] = [{**entry, "id": HOSTILE, "contrast": {f"{HOSTILE} tokens": ["4", "9"]}}]
    hostile = {**value, "positive_control": None}
    found = claim_results(make_table(SavedSweep.of(hostile), Store(tmp_path / "results")))
    assert found[0].pairs
    summary = Summary({HOSTILE: found}, {HOSTILE: HOSTILE})
    for blocks in (claim_blocks(found), summary_blocks(summary)):
        text = printed(blocks)
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "\u202e" not in text
        assert "[bold]q[/bold]" in " ".join(text.split())
        page = markdown(HOSTILE, blocks)
        assert "<b>" not in page
        assert "\x1b" not in page
        assert not re.search(r"(?<!\\)[`*|\[\]]", page)
        assert all(line.startswith(("# ", "## ", "- ", "  - ")) for line in page.splitlines() if line)


def test_text_of_others_becomes_harmless() -> None:
    assert plain("a\x1b[31m\r\nb\u202ec") == "a\\x1b[31m b\\u202ec"
    assert escaped("<b>&`x`|y*[z]_~\\") == "&lt;b>&amp;\\`x\\`\\|y\\*\\[z\\]\\_\\~\\\\"


def test_the_lines_of_a_table_carry_the_verdict(table: Table, results: tuple[ClaimResult, ...]) -> None:
    line = contrast_lines(table)[0]
    assert line.startswith(
        "I2-13 (Idefics2 T4): mean, tokens 4 → 9 at pooling=perceiver, expected equivalent, measured "
    )
    assert f": {results[0].judgement.verdict}" in line
    assert line.endswith("(conditional on the trained models)")


def test_every_type_has_words(tmp_path: Path) -> None:
    contrast = {"tokens": [4, 9]}
    claims = [
        {"id": "I2-26", "expect": "diverges", "where": {"pooling": "average"}},
        {"id": "PV-08", "expect": "flips", "contrast": contrast, "between": {"pooling": ["perceiver", "average"]}},
        {"id": "no such paper", "expect": "better", "contrast": contrast},
    ]
    made, _ = make(tmp_path, claims=[claims[0], claims[1]], positive_control=None)
    first, second = claim_results(made)
    third = replace(second, claim=replace(second.claim, id="no such paper"), published=())
    text = flat(claim_blocks([first, second, third]))
    assert "training at pooling=average; expected diverges" in text
    assert "0 of 1 trainings diverged" in text or "nothing yet" in text or "0 of 0 trainings diverged" in text
    assert "mean, tokens 4 → 9, between pooling perceiver → average; expected flips" in text
    assert "at pooling perceiver:" in text
    assert "not in the papers' table" in text
    assert len(claim_lines([first])) == 1
    assert len(claim_lines([second])) == 3  # and its two pairs


@pytest.mark.parametrize(
    ("seeds", "reason"),
    [
        (33, "it would take 33 seeds, more than 10 times those that were run"),
        (None, "not even 1000 seeds would decide if the effect stays what it is"),
    ],
)
def test_too_few_seeds_are_no_property_of_the_scale(
    results: tuple[ClaimResult, ...], seeds: int | None, reason: str
) -> None:
    judgement = Judgement("undecided", "why", seeds, is_undecidable=True)
    found = replace(results[0], judgement=judgement)
    text = flat(claim_blocks([found]))
    assert "I2-13: not decidable with so few seeds" in text
    assert f"undecided: why; not decidable with so few seeds: {reason}" in text
    summary = flat(summary_blocks(Summary({"pooling": (found,)}, {})))
    assert "1, 1 of them not decidable with so few seeds" in summary
    for shown in (text, summary, *claim_lines([found])):
        assert "at this scale" not in shown


def test_an_unmeasured_claim_says_so(partial: Table) -> None:
    (found,) = claim_results(partial)
    text = flat(claim_blocks([found]))
    assert "nothing yet (no seed has both scores)" in text
    assert "I2-13: undecided" in text
    summary = flat(summary_blocks(Summary({"pooling": (found,)}, {})))
    assert "0 claims" in summary
    assert "no sign claim yet" in summary
    assert "1 claim: the runs are not there yet" in summary
