"""Every variant of every ablation that ships passes the smoke check, in one command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.spec import load
from harness.spec.published import published_claims

ROOT = Path(__file__).parents[1]


@pytest.mark.timeout(1800)
def test_every_variant_of_every_ablation_passes_the_smoke_check(tmp_path: Path) -> None:
    files = sorted(str(path) for path in (ROOT / "ablations").glob("*.yaml"))
    assert files
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "harness", "check", *files],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed in" in done.stdout


def test_a_variant_that_fails_is_named(tmp_path: Path) -> None:
    """Tokens too many for a row of a document: the training fails, the command says where."""
    file = tmp_path / "one.yaml"
    file.write_text(
        "name: one\nquestion: What?\nrecipe: idefics2\nscale: smoke\n"
        "factors:\n  length: {key: training.max_length, levels: [256, 8]}\n"
        "design: full\nbaseline: {length: 256}\nseeds: [0]\nanalysis: {primary: mean, min_effect: 3.0}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "harness", "check", str(file), "--processes", "1"],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        check=False,
    )
    assert done.returncode == 1
    assert "1 of 2 passed" in done.stdout
    assert "length=8 seed 0: train: " in done.stderr
    assert done.stderr.count("max_length") == 1


def test_what_several_runs_have_is_said_once(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text("name: one\nrecipe: idefics2\nscale: smoke\nseeds: [0, 1]\ntraining: {max_length: 8}\n")
    done = subprocess.run(
        [sys.executable, "-m", "harness", "check", str(file)],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        check=False,
    )
    assert done.returncode == 1
    assert "0 of 2 passed" in done.stdout
    assert "seed 0, " in done.stderr
    assert done.stderr.count("max_length") == 1


def test_without_a_file_there_is_nothing_to_check(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "check", "seeds=[0]"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no sweep file" in done.stderr


ROW = re.compile(r"^\| ([A-Z][A-Z0-9]+-\w+) \| (.+) \|$", re.MULTILINE)


def test_the_readme_says_where_each_claim_is_tested_and_why_others_are_not() -> None:
    readme = (ROOT / "ablations" / "README.md").read_text(encoding="utf-8")
    listed = {claim: set(re.findall(r"\]\((\w+\.yaml)\)", rest)) for claim, rest in ROW.findall(readme)}
    tested: dict[str, set[str]] = {}
    for path in sorted((ROOT / "ablations").glob("*.yaml")):
        for claim in load(path).claims:
            tested.setdefault(claim.id, set()).add(path.name)
    assert {claim: files for claim, files in listed.items() if files} == tested
    founding = {claim for claim in published_claims() if claim.startswith(("I2-", "PV-", "PR-"))}
    assert founding <= listed.keys(), "each claim of the founding papers is tested or left out with a reason"
