from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data.archive import ArchiveWriter
from harness.data.interleaved import InterleavedRecords, SolvedExample
from harness.data.manifest import VerifiedFiles
from harness.data.pairs import SolvedQuestion
from harness.errors import HarnessError

SOLVED = {"question": "What?", "answer": "dog", "task": "vqav2"}


def _records(root: Path, document: Any) -> InterleavedRecords:
    (root / "train").mkdir(exist_ok=True)
    with ArchiveWriter(root / "train/interleaved-00000.tar") as archive:
        archive.add("d.0.jpg", b"1")
        archive.add("d.json", document if isinstance(document, bytes) else json.dumps(document).encode())
    return InterleavedRecords(VerifiedFiles(root, None))


def _document(**other: Any) -> dict[str, Any]:
    return {
        "images": ["d.0.jpg", None, "pairs-00003.tar::k.jpg", None],
        "texts": [None, "one", None, "two"],
        **other,
    }


def test_pictures_of_the_shard_and_of_others(tmp_path: Path) -> None:
    examples = [{"image": 2, "solved": [SOLVED, {"answer": "A dog.", "question": ""}]}]
    records = _records(tmp_path, _document(task="vqav2", examples=examples))
    assert len(records) == 1
    record = records[0]
    keys = ("train/interleaved-00000.tar::d.0.jpg", None, "train/pairs-00003.tar::k.jpg", None)
    assert (record.key, record.images, record.texts, record.task) == ("d", keys, (None, "one", None, "two"), "vqav2")
    solved = (SolvedQuestion("What?", "dog", "vqav2"), SolvedQuestion("", "A dog.", ""))
    assert record.examples == (SolvedExample("train/pairs-00003.tar::k.jpg", solved),)


def test_plain_documents_have_no_examples(tmp_path: Path) -> None:
    record = _records(tmp_path, _document())[0]
    assert (record.task, record.examples) == ("", ())


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (_document(texts=[None, "one"]), "images has 4 places and texts 2"),
        (_document(texts=["zero", "one", None, "two"]), "at place 0 exactly one"),
        (_document(images=[None] * 4), "at place 0 exactly one"),
        (_document(images=[3, None, 4, None]), "texts and null only"),
        (_document(images=["e.0.jpg", None, "d.0.jpg", None]), "the picture 'e.0.jpg' is not in the shard"),
        (_document(images=["../x.tar::k.jpg", None, "d.0.jpg", None]), "not in a shard beside"),
        (_document(examples=[{"image": 1, "solved": [SOLVED]}]), "no picture at place 1"),
        (_document(examples=[{"image": 9, "solved": [SOLVED]}]), "no picture at place 9"),
        (_document(examples=[{"image": 0, "solved": []}]), "has nothing solved"),
        (_document(examples=[{"image": 0, "solved": [{"question": "Q?"}]}]), "has no answer"),
        ({"images": []}, "has no texts"),
        ([], "an object is expected"),
        (b"{", "is not JSON"),
    ],
)
def test_wrong_documents_are_named(tmp_path: Path, document: Any, message: str) -> None:
    with pytest.raises(HarnessError, match=rf"interleaved-00000\.tar: sample 'd': .*{message}"):
        _records(tmp_path, document)[0]


def test_a_sample_without_document_is_named(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with ArchiveWriter(tmp_path / "train/interleaved-00000.tar") as archive:
        archive.add("d.0.jpg", b"1")
    with pytest.raises(HarnessError, match=r"has no KEY\.json"):
        InterleavedRecords(VerifiedFiles(tmp_path, None))[0]
