from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from harness.data.archive import Archive, ArchiveWriter
from harness.data.dataset import Dataset
from harness.data.leaks import GROUPS, LeakReport, find_leaks
from harness.errors import HarnessError

Edit = Callable[[Path, Callable[[Any], None]], None]


def _kinds(report: LeakReport) -> set[str]:
    return {leak.kind for leak in report.leaks}


def _add_pair(root: Path, key: str, picture: bytes, record: dict[str, Any]) -> None:
    with ArchiveWriter(root / "train/pairs-00099.tar") as archive:
        archive.add(f"{key}.jpg", picture)
        archive.add(f"{key}.json", json.dumps(record).encode())


def _own_picture(root: Path) -> bytes:
    """A training picture, which may be added to training again."""
    archive = Archive(root / "train/pairs-00000.tar")
    return archive.read(next(iter(archive.members)))


def test_the_microworld_has_no_leaks(dataset: Dataset) -> None:
    seen: list[tuple[int, int]] = []
    for pixels in (False, True):
        report = find_leaks(dataset, lambda done, total: seen.append((done, total)), pixels)
        assert report.leaks == ()
        report.require_none()
    assert report.pictures == {"train": 40, "support": 21, "validation": 12, "test": 36}
    assert report.subsets["textvqa test unseen_signs"] >= 6
    assert report.subsets["okvqa test untaught_facts"] >= 20
    assert seen[-1] == (109, 109)


def test_a_test_picture_among_the_training_pairs_is_found(copy: Path) -> None:
    example = Dataset.open(copy).examples("coco", "test")[2]
    _add_pair(copy, "fresh", (copy / example.image).read_bytes(), {"caption": "A thing."})
    report = find_leaks(Dataset.open(copy))
    assert _kinds(report) == {"picture"}
    assert example.image in report.leaks[0].detail
    with pytest.raises(HarnessError, match=r"1 leaks .*\n.*fresh"):
        report.require_none()


def test_the_same_picture_in_another_file_format_is_found_by_its_pixels(copy: Path) -> None:
    data = Dataset.open(copy)
    image = data.image(data.examples("textvqa", "test")[0].image)
    target = copy / data.examples("coco", "support")[0].image
    image.save(target, "PNG")
    assert not find_leaks(Dataset.open(copy)).leaks
    assert _kinds(find_leaks(Dataset.open(copy), pixels=True)) == {"picture"}


def test_an_image_id_in_training_and_test_is_found(copy: Path) -> None:
    image_id = int(Dataset.open(copy).examples("coco", "test")[0].image_id)
    _add_pair(copy, f"{image_id:012d}", _own_picture(copy), {"caption": "A thing."})
    report = find_leaks(Dataset.open(copy))
    assert _kinds(report) == {"image id"}
    assert f"{image_id:012d}" in report.leaks[0].detail


@pytest.mark.parametrize(("first", "second"), list(combinations(GROUPS, 2)))
def test_a_picture_shared_by_any_two_groups_is_found(copy: Path, first: str, second: str) -> None:
    data = Dataset.open(copy)
    target = copy / data.examples("vqav2", second)[0].image
    if first == "train":
        target.write_bytes(_own_picture(copy))
    else:
        shutil.copy(copy / data.examples("vqav2", first)[0].image, target)
    report = find_leaks(Dataset.open(copy))
    assert _kinds(report) == {"picture"}
    assert f"({first})" in report.leaks[0].detail
    assert f"({second})" in report.leaks[0].detail


@pytest.mark.parametrize("where", ["caption", "answer"])
def test_a_held_out_sign_in_training_text_is_found_however_it_is_spelt(copy: Path, edit: Edit, where: str) -> None:
    example = next(item for item in Dataset.open(copy).examples("textvqa", "test") if item.subset)

    def rename(content: Any) -> None:
        next(item for item in content["data"] if item["question_id"] == example.sample_id)["answers"] = ["Zebu"] * 10

    edit(copy / "textvqa/TextVQA_0.5.1_val.json", rename)
    record: dict[str, Any] = {"caption": "A thing."}
    if where == "caption":
        record["caption"] = "A sign that says zebu."
    else:
        record["questions"] = [{"question": "What does the sign say?", "answer": "ZEBU", "task": "textvqa"}]
    _add_pair(copy, "fresh", _own_picture(copy), record)
    report = find_leaks(Dataset.open(copy))
    assert _kinds(report) == {"sign"}
    assert "zebu" in report.leaks[0].detail


def test_a_held_out_sign_drawn_in_a_training_picture_is_found(copy: Path) -> None:
    sign = next(item.consensus for item in Dataset.open(copy).examples("textvqa", "test") if item.subset)
    _add_pair(copy, "fresh", _own_picture(copy), {"caption": "A thing."})
    with ArchiveWriter(copy / "experts/fresh.tar") as archive:
        labels = [{"id": 1, "label": "sign", "class": 1, "box": [0, 0, 58, 26], "text": sign}]
        archive.add("fresh.objects.json", json.dumps(labels).encode())
    assert _kinds(find_leaks(Dataset.open(copy))) == {"sign"}


def test_a_held_out_sign_in_a_demonstration_is_found(copy: Path, edit: Edit) -> None:
    sign = next(item.consensus for item in Dataset.open(copy).examples("textvqa", "test") if item.subset)
    shown = Dataset.open(copy).examples("textvqa", "support")[0].sample_id

    def change(content: Any) -> None:
        next(item for item in content["data"] if item["question_id"] == shown)["answers"] = [sign] * 10

    edit(copy / "textvqa/TextVQA_0.5.1_train.json", change)
    assert _kinds(find_leaks(Dataset.open(copy))) == {"sign"}


def _untaught(data: Dataset) -> str:
    """The name of an object whose facts the test asks for as untaught."""
    example = next(item for item in data.examples("okvqa", "test") if item.subset and "this" in item.question)
    return data.experts.objects(example.image)[0].label


@pytest.mark.parametrize(
    ("question", "leaks"), [("What kind of thing is this?", True), ("Who would need the thing at the top left?", False)]
)
def test_an_untaught_fact_in_training_is_found(copy: Path, question: str, leaks: bool) -> None:
    name = _untaught(Dataset.open(copy))
    solved = {"question": question, "answer": "whatever", "task": "okvqa"}
    _add_pair(copy, "fresh", _own_picture(copy), {"caption": "A thing.", "questions": [solved]})
    with ArchiveWriter(copy / "experts/fresh.tar") as archive:
        labels = [{"id": 1, "label": name, "class": 9, "box": [140, 140, 48, 48]}]
        archive.add("fresh.objects.json", json.dumps(labels).encode())
    report = find_leaks(Dataset.open(copy))
    assert _kinds(report) == ({"fact"} if leaks else set())


def test_an_untaught_fact_in_a_demonstration_is_found(copy: Path, edit: Edit) -> None:
    data = Dataset.open(copy)
    name = _untaught(data)
    shown = data.examples("okvqa", "support")[0]
    stem = Path(shown.image).stem
    shard = next(path for path in (copy / "experts").iterdir() if f"{stem}.objects.json" in Archive(path).members)
    archive = Archive(shard)
    contents = {member: archive.read(member) for member in archive.members}
    found = json.loads(contents[f"{stem}.objects.json"])
    contents[f"{stem}.objects.json"] = json.dumps([{**item, "label": name} for item in found]).encode()
    shard.unlink()
    with ArchiveWriter(shard) as writer:
        for member, content in contents.items():
            writer.add(member, content)
    assert _kinds(find_leaks(Dataset.open(copy))) == {"fact"}
