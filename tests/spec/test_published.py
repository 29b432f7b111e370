from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.spec import published
from harness.spec.published import published_bound, published_claims, published_numbers, related, relations

HEAD = (published.FOLDER / published.CLAIMS).read_text(encoding="utf-8").splitlines()[0]


def test_every_claim_keeps_its_rows_and_names_its_source() -> None:
    claims = published_claims()
    assert len(claims) > 100
    (row,) = claims["I2-13"]
    assert (row["level_a"], row["level_b"], row["effect_b_minus_a"], row["shots"]) == ("64", "128", "-0.5", "4")
    assert len(claims["I2-03"]) == 4
    for claim, rows in claims.items():
        assert claim
        assert all(row["paper"] and row["source"] and row["table"] and row["check"] for row in rows)


def test_every_number_is_a_number_with_its_table_and_shots() -> None:
    numbers = published_numbers()
    assert len(numbers) > 1500
    assert {row["paper"] for row in numbers} >= {"Idefics2", "Prismer", "MM1", "Flamingo"}
    for row in numbers:
        assert row["source"]
        assert row["table"]
        assert row["shots"]


def test_numbers_of_claims_stand_in_the_papers_tables() -> None:
    """Both are transcribed; one must not drift from the other."""
    values: dict[str, set[str]] = {}
    for row in published_numbers():
        values.setdefault(row["paper"], set()).add(row["value"])
    for paper in ("Idefics2", "Prismer", "MM1"):
        rows = [row for found in published_claims().values() for row in found if row["paper"] == paper]
        known = {float(value) for value in values[paper] if value.replace(".", "", 1).replace("-", "", 1).isdigit()}
        for row in rows:
            if row["value_a"] and row["value_b"] and not row["size_class"].startswith("qualitative"):
                assert float(row["value_a"]) in known, row
                assert float(row["value_b"]) in known, row
                assert float(row["effect_b_minus_a"]) == pytest.approx(float(row["value_b"]) - float(row["value_a"]))


def test_the_bound_is_the_claims_own_or_the_papers_noise_or_none() -> None:
    assert published_bound("MM-02") == (1.0, "MM1 T1")
    assert published_bound("I2-13") == (1.0, "the noise that Idefics2 reports, I2-28")
    assert published_bound("PM-08") is None
    assert published_bound("no such claim") is None


@pytest.mark.parametrize(
    ("remark", "found"),
    [
        ("conflict: PM-08 (Llama); support: BLIP-2 B2-03", (("PM-08", "conflict"), ("B2-03", "support"))),
        ("support PR-06/07, FL-09", (("PR-06", "support"), ("PR-07", "support"), ("FL-09", "support"))),
        ("opposite of PV-05", (("PV-05", "conflict"),)),
        ("Idefics2 I2-17 flat", (("I2-17", "see"),)),
        ("conflict: Honeybee, VILA; BLIP-2 alone, ViT-22", ()),
        ("", ()),
    ],
)
def test_what_a_remark_names(remark: str, found: tuple[tuple[str, str], ...]) -> None:
    assert related(remark) == found


def test_disagreement_is_found_from_either_side() -> None:
    assert ("HB-04", "conflict") in relations("I2-13")
    assert ("I2-13", "conflict") in relations("HB-04")
    assert relations("I2-13")[0][1] == "conflict"
    assert all(other != "I2-13" for other, _ in relations("I2-13"))


def test_a_damaged_table_is_an_error_that_names_it(tmp_path: Path) -> None:
    assert published_claims(tmp_path / "nowhere") == {}
    for number, content in enumerate((b"claim_id,paper\nx,y\n", HEAD.encode() + b"\n\xff\xfe\n")):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / published.CLAIMS).write_bytes(content)
        with pytest.raises(HarnessError, match=r"claims\.csv"):
            published_claims(folder)


def test_short_rows_are_filled(tmp_path: Path) -> None:
    (tmp_path / published.CLAIMS).write_text(f"{HEAD}\nX-01,Paper\n")
    (row,) = published_claims(tmp_path)["X-01"]
    assert row["conditions"] == row["conflicts_or_support"] == ""
