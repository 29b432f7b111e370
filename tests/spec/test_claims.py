from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.spec import published
from harness.spec.claims import Claim, Contrast, PositiveControl

FACTORS = (
    "factors:\n  tokens: {key: model.connector.num_tokens, levels: [4, 36]}\n"
    "  depth: {key: model.connector.depth, levels: [1, 3]}\n"
)


@pytest.fixture(autouse=True)
def papers(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of published claims with three of them."""
    folder = tmp_path_factory.mktemp("published")
    columns = (published.FOLDER / published.CLAIMS).read_text().splitlines()[0]
    rest = "," * (columns.count(",") - 1)
    rows = [f"{claim},Idefics2{rest}" for claim in ("I2-12", "I2-13", "I2-13")]
    (folder / published.CLAIMS).write_text("\n".join([columns, *rows]) + "\n")
    monkeypatch.setattr(published, "FOLDER", folder)
    return folder


def test_claims_and_control_are_bound_to_levels(accept: Callable) -> None:
    sweep = accept(
        FACTORS + "claims:\n"
        "  - {id: I2-13, contrast: {tokens: [4, 36]}, expect: equivalent}\n"
        "  - {id: I2-12, contrast: {tokens: [36, '4'], depth: [1, 3]}, expect: worse, benchmark: coco}\n"
        "positive_control: {contrast: {tokens: [4, 36]}, where: {depth: 3}, benchmark: textvqa}\n"
    )
    assert sweep.claims == (
        Claim("I2-13", Contrast({"tokens": ("4", "36")}), "equivalent", "mean"),
        Claim("I2-12", Contrast({"tokens": ("36", "4"), "depth": ("1", "3")}), "worse", "coco"),
    )
    assert sweep.positive_control == PositiveControl(Contrast({"tokens": ("4", "36")}, {"depth": "3"}), "textvqa")
    assert sweep.notes == ()


def test_a_claim_is_about_the_primary_score_unless_it_says_otherwise(accept: Callable) -> None:
    text = "claims: [{id: I2-13, contrast: {tokens: [4, 36]}, expect: better}]\nanalysis: {primary: okvqa}\n"
    assert accept(FACTORS + text).claims[0].benchmark == "okvqa"


GOOD = "contrast: {tokens: [4, 36]}"


@pytest.mark.parametrize(
    ("claim", "key", "remedy"),
    [
        (f"id: §I2-31, {GOOD}, expect: better", "claims[0].id", "I2-13"),
        (f"id: I2-13, {GOOD}, expect: §btter", "claims[0].expect", "did you mean better?"),
        (f"id: I2-13, {GOOD}", "claims[0].expect", "add `expect`"),
        (f"id: I2-13, {GOOD}, expect: better, §wher: {{}}", "claims[0].wher", "did you mean claims[0].where?"),
        ("id: I2-13, contrast: §{}, expect: better", "claims[0].contrast", "factor"),
        ("id: I2-13, contrast: {tokens: §4}, expect: better", "claims[0].contrast.tokens", "[from, to]"),
        ("id: I2-13, contrast: {tokens: §[4]}, expect: better", "claims[0].contrast.tokens", "[from, to]"),
        ("id: I2-13, contrast: {tokens: [4, §5]}, expect: better", "claims[0].contrast.tokens[1]", "4, 36"),
        ("id: I2-13, contrast: {tokens: §[4, 4]}, expect: better", "claims[0].contrast.tokens", "4, 36"),
        ("id: I2-13, contrast: {§token: [4, 36]}, expect: better", "claims[0].contrast.token", "tokens"),
        (f"id: I2-13, {GOOD}, expect: better, where: {{depth: §2}}", "claims[0].where.depth", "1, 3"),
        (f"id: I2-13, {GOOD}, expect: better, where: {{§tokens: 4}}", "claims[0].where.tokens", "remove"),
        (f"id: I2-13, {GOOD}, expect: better, benchmark: §vqa", "claims[0].benchmark", "did you mean vqav2?"),
    ],
)
def test_mistakes_in_claims(refuse: Callable, claim: str, key: str, remedy: str) -> None:
    (problem,) = refuse(FACTORS + f"claims:\n  - {{{claim}}}\n")
    assert problem.key == key
    assert remedy in problem.remedy


def test_a_contrast_without_variants(refuse: Callable) -> None:
    text = (
        FACTORS
        + "exclude: [{tokens: 36, depth: 1}]\npositive_control: {contrast: §{tokens: [4, 36]}, where: {depth: 1}}\n"
    )
    (problem,) = refuse(text)
    assert problem.key == "positive_control.contrast"
    assert "include" in problem.remedy


def test_every_wrong_claim_is_shown(refuse: Callable) -> None:
    text = "claims:\n  - {id: a, contrast: {tokens: [4, 36]}, expect: better}\n  - {id: I2-13, expect: x}\n  - 3\n"
    problems = refuse(FACTORS + text)
    assert {problem.line for problem in problems} >= {10}
    problems = refuse(FACTORS + text.removesuffix("  - 3\n"))
    assert [problem.line for problem in problems] == [8, 9]


@pytest.mark.parametrize("primary", ["meen", "vqav3", ""])
def test_an_unknown_primary_score(refuse: Callable, primary: str) -> None:
    (problem,) = refuse(f"analysis: {{primary: '{primary}'}}\n")
    assert (problem.line, problem.key) == (4, "analysis.primary")


def test_a_smaller_run_by_override_leaves_out_what_it_cannot_test(accept: Callable) -> None:
    text = FACTORS + (
        "claims: [{id: I2-13, contrast: {tokens: [4, 36]}, expect: equivalent}]\n"
        "positive_control: {contrast: {tokens: [4, 36]}, where: {depth: 1}, benchmark: textvqa}\n"
        "baseline: {tokens: 36}\n"
    )
    for overrides in [
        ["factors.tokens.levels=[36]"],
        ["factors.tokens=null"],
        ["design=list", "variants=[{tokens: 36, depth: 1}]"],
    ]:
        sweep = accept(text, *overrides)
        assert sweep.claims == ()
        assert sweep.positive_control is None
        assert len(sweep.notes) == 2
        assert "I2-13" in sweep.notes[0]
    sweep = accept(text, "evaluation.tasks.textvqa=null")
    assert len(sweep.claims) == 1
    assert sweep.positive_control is None


def test_ids_are_not_checked_without_the_published_table(
    accept: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(published, "FOLDER", tmp_path / "nowhere")
    text = "claims: [{id: mine, contrast: {tokens: [4, 36]}, expect: better}]\n"
    assert accept(FACTORS + text).claims[0].id == "mine"
