from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.data.documents import IMAGE, Document
from harness.data.interleaved import InterleavedRecord
from harness.data.order import DocumentRef
from harness.data.pages import PageRecord
from harness.data.pairs import PairRecord, SolvedQuestion
from harness.data.views import Splitting
from harness.errors import HarnessError
from harness.train.source import TrainingSource


class Opening:
    """A tokenizer that opens every text with its begin token, as Llama's does, unless told not to."""

    bos_token_id, eos_token_id = 1, 2

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, Any]:
        return {"input_ids": [self.bos_token_id] * add_special_tokens + [ord(letter) for letter in text]}


def test_pieces_are_tokenised_without_special_tokens() -> None:
    dataset: Any = _dataset()
    source = TrainingSource(dataset, Opening(), 4, Splitting("none", 96))
    document = source.document(SimpleNamespace(source="pairs", index=0, epoch=0), seed=0)  # type: ignore[arg-type]
    assert document.ids.count(1) == 1


def test_a_split_picture_stands_as_its_tiles_and_then_itself() -> None:
    dataset: Any = _dataset()
    reference: Any = SimpleNamespace(source="pairs", index=0, epoch=0)
    whole = TrainingSource(dataset, Opening(), 4, Splitting("none", 96)).document(reference, seed=0)
    split = TrainingSource(dataset, Opening(), 4, Splitting("quadrants", 96)).document(reference, seed=0)
    corners = ("0-0", "0-1", "1-0", "1-1")
    assert split.images == (*(f"a.png#tile-{corner}-of-2x2" for corner in corners), "a.png")
    assert split.ids == (1, *[IMAGE] * 5, *whole.ids[2:])
    assert split.supervised == (False, *[False] * 5, *whole.supervised[2:])


IMAGES = (None, "a.png", None, None, "b.png", None, "c.png", None)
TEXTS = ("Look.", None, "A cat.", "It sleeps.", None, "A dog.", None, "A fox.")


@pytest.mark.parametrize(
    ("pictures", "tokens", "expected"),
    [
        (2, None, "Look.#A cat.\n\nIt sleeps.#A dog.|"),
        (3, None, "Look.#A cat.\n\nIt sleeps.#A dog.#A fox.|"),
        (9, None, "Look.#A cat.\n\nIt sleeps.#A dog.#A fox.|"),
        (9, 3, "Loo"),
        (9, 5, "Look."),  # no picture of which nothing would be told
        (9, 8, "Look.#A c"),
        (9, 12, "Look.#A cat.\n"),
        (9, 34, "Look.#A cat.\n\nIt sleeps.#A dog.#A fox"),
        (9, 35, "Look.#A cat.\n\nIt sleeps.#A dog.#A fox.|"),
        (2, 29, "Look.#A cat.\n\nIt sleeps.#A dog."),
        (2, 30, "Look.#A cat.\n\nIt sleeps.#A dog.|"),
    ],
)
def test_a_plain_document_is_told_as_it_stands(pictures: int, tokens: int | None, expected: str) -> None:
    document = _plain(_source(examples_per_document=pictures, text_tokens_per_document=tokens))
    assert _shown(document) == expected
    assert document.images == ("a.png", "b.png", "c.png")[: expected.count("#")]
    assert all(told == (token not in (1, IMAGE)) for token, told in zip(document.ids, document.supervised, strict=True))


def test_a_plain_document_that_begins_with_many_pictures_still_teaches_something() -> None:
    """A step of such documents alone would divide its loss by no tokens."""
    dataset = _dataset()
    dataset.interleaved = [InterleavedRecord("o", ("a.png", "b.png", None), (None, None, "Two."), "", ())]
    document = _plain(_source(dataset, examples_per_document=1))
    assert _shown(document) == "#|"
    assert sum(document.supervised) == 1


def _plain(source: TrainingSource) -> Document:
    return source.document(DocumentRef("interleaved", 0, 0), seed=0)


def _shown(document: Document) -> str:
    return "".join({1: "", 2: "|", IMAGE: "#"}.get(token, chr(max(token, 0))) for token in document.ids)


def _dataset() -> Any:
    asked = tuple(SolvedQuestion(f"q{number}?", str(number), "docvqa") for number in range(8))
    return SimpleNamespace(
        root="/data",
        pairs=[PairRecord("a", "a.png", ("a cat",), asked, {"alt_text": ("cat.jpg",)})],
        interleaved=[InterleavedRecord("o", IMAGES, TEXTS, "", ())],
        transcriptions=[PageRecord("p", "p.png", "total 42", ())],
        document_questions=[PageRecord("q", "q.png", "", asked)],
        image=None,
        image_shape=None,
    )


def _told(source: TrainingSource, kind: str, only: bool = True) -> str:
    document = source.document(DocumentRef(kind, 0, 0), seed=0)
    pairs = zip(document.ids, document.supervised, strict=True)
    return "".join("|" if token == 2 else chr(token) for token, is_told in pairs if (is_told or not only) and token > 1)


def _source(dataset: Any = None, **phase: Any) -> TrainingSource:
    whole = {"examples_per_document": 3, "mixture": {"pairs": 1.0, "interleaved": 0.0}, **phase}
    return TrainingSource.of_phase(dataset or _dataset(), Opening(), whole, Splitting("none", 96))


def test_captions_are_those_of_the_source_that_the_phase_names() -> None:
    assert _told(_source(questions_per_image=0), "pairs") == " a cat|"
    assert _told(_source(questions_per_image=0, captions="alt_text"), "pairs") == " cat.jpg|"
    with pytest.raises(HarnessError, match=r"training.captions is synthetic"):
        _told(_source(captions="synthetic"), "pairs")


def test_pictures_have_as_many_questions_as_the_phase_says() -> None:
    assert [_told(_source(questions_per_image=number), "pairs").count("|") for number in (0, 2, 6, 20)] == [1, 3, 7, 9]
    assert _told(_source(), "pairs").count("|") == 7
    questions = [_told(_source(questions_per_image=number), "document_questions").count("|") for number in (0, 2, 20)]
    assert questions == [1, 2, 8]


def test_of_a_transcribed_page_the_text_is_learnt() -> None:
    assert _told(_source(), "transcriptions") == " total 42|"
    assert _told(_source(), "transcriptions", only=False) == " Text: total 42|"
    assert "q" in _told(_source(), "document_questions", only=False)
    assert "q" not in _told(_source(), "document_questions")


def test_a_share_of_what_the_data_has_not_is_refused() -> None:
    dataset = _dataset()
    dataset.interleaved = []
    with pytest.raises(HarnessError, match=r"mixture.interleaved is 0.25, and /data has no train/interleaved-\*.tar"):
        _source(dataset, mixture={"pairs": 0.75, "interleaved": 0.25})
