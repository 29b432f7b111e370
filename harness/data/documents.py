"""Training documents: images, prompts and supervised answers as token ids, built from the records of the shards."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.data.pairs import SolvedQuestion
from harness.data.prompts import CAPTION_PROMPT, answer_text, question_prompt

IMAGE = -1
"""Stands in ``Document.ids`` where an image goes; the packer replaces it by the image's placeholders."""

Encode = Callable[[str], list[int]]


@dataclass(frozen=True)
class Example:
    """One image with its solved prompts: pairs of (prompt, answer) in order."""

    image: str
    solved: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Document:
    """Token ids with one ``IMAGE`` an image, which of them are supervised, and the images in order.

    Once its pictures are split (``with_views``), an image is a view of a picture.
    """

    ids: tuple[int, ...]
    supervised: tuple[bool, ...]
    images: tuple[str, ...]

    def length(self, placeholders: int) -> int:
        """Tokens in the sequence when an image takes ``placeholders`` of them."""
        return len(self.ids) + len(self.images) * (placeholders - 1)


def tokenise(examples: Sequence[Example], encode: Encode, begin: int | None, end: int) -> Document:
    """Examples one after another; answers and their end tokens are supervised, nothing else is.

    ``encode`` gives the ids of a text without special tokens; ``begin`` opens the document unless it is None (the
    tokenizers of some families have no such token); ``end`` closes each answer.
    """
    ids: list[int] = [] if begin is None else [begin]
    supervised = [False] * len(ids)
    for example in examples:
        ids.append(IMAGE)
        supervised.append(False)
        for prompt, answer in example.solved:
            asked, told = encode(prompt), [*encode(answer_text(answer)), end]
            ids += [*asked, *told]
            supervised += [False] * len(asked) + [True] * len(told)
    return Document(tuple(ids), tuple(supervised), tuple(example.image for example in examples))


def tokenise_plain(
    images: Sequence[str | None],
    texts: Sequence[str | None],
    most_images: int,
    most_text: int | None,
    encode: Encode,
    begin: int | None,
    end: int,
) -> Document:
    """A document of pictures and text as it stands (OBELICS'): all of its text is supervised.

    At each place one of ``images`` and ``texts`` is a value; texts side by side are paragraphs. It goes up to its
    picture number ``most_images + 1``, or to its token of text number ``most_text + 1``, whatever pictures cost: the
    same in all variants with this tokenizer. ``end`` is learned unless its text was cut, so that something always is.
    """
    ids: list[int] = [] if begin is None else [begin]
    supervised = [False] * len(ids)
    shown: list[str] = []
    room = most_text
    before = None
    is_cut = False
    for image, text in zip(images, texts, strict=True):
        if image is not None:
            is_cut = room == 0
            if is_cut or len(shown) == most_images:
                break
            shown.append(image)
            ids.append(IMAGE)
            supervised.append(False)
        else:
            whole = encode(f"\n\n{text}" if before is not None else str(text))
            told = whole[:room]
            ids += told
            supervised += [True] * len(told)
            is_cut = len(told) < len(whole)
            if is_cut:
                break
            room = None if room is None else room - len(told)
        before = text
    if not is_cut:
        ids.append(end)
        supervised.append(True)
    return Document(tuple(ids), tuple(supervised), tuple(shown))


def with_views(document: Document, views: Callable[[str], Sequence[str]]) -> Document:
    """The document with the ``views`` of each picture in its place, one ``IMAGE`` a view; its text does not change."""
    ids: list[int] = []
    supervised: list[bool] = []
    images: list[str] = []
    pictures = iter(document.images)
    for token, told in zip(document.ids, document.supervised, strict=True):
        shown = views(next(pictures)) if token == IMAGE else ()
        images += shown
        repeats = len(shown) if token == IMAGE else 1
        ids += [token] * repeats
        supervised += [told] * repeats
    return Document(tuple(ids), tuple(supervised), tuple(images))


def without_images(document: Document) -> Document:
    """The text alone."""
    text = [(token, told) for token, told in zip(document.ids, document.supervised, strict=True) if token != IMAGE]
    return Document(tuple(token for token, _ in text), tuple(told for _, told in text), ())


def choose(items: Sequence[int], count: int, *names: object) -> list[int]:
    """At most ``count`` of ``items`` in an order that is a pure function of ``names``."""
    key = " ".join(str(name) for name in names)
    ranked = sorted(items, key=lambda item: hashlib.sha256(f"{key} {item}".encode()).digest())
    return ranked[:count]


def choose_questions(questions: Sequence[SolvedQuestion], limit: int, *names: object) -> list[SolvedQuestion]:
    """Up to ``limit`` questions drawn by ``names``: one of each task, then more about what is seen (VQAv2's) first.

    Knowledge comes from the language model's pretraining, and what a sign says is said once: more of either teaches
    little more about the picture.
    """
    waiting: dict[str, list[int]] = {}
    for index in choose(range(len(questions)), len(questions), "questions", *names):
        waiting.setdefault(questions[index].task, []).append(index)
    chosen = [indices.pop(0) for indices in waiting.values()]
    for task in sorted(waiting, key=lambda task: task != "vqav2"):
        chosen += waiting[task]
    return [questions[index] for index in chosen[:limit]]


def pair_example(
    image: str, captions: Sequence[str], questions: Sequence[SolvedQuestion], limit: int, *names: object
) -> Example:
    """One of the captions of an image and up to ``limit`` of its questions, drawn by ``names`` (seed, pass, record)."""
    caption = captions[choose(range(len(captions)), 1, "caption", *names)[0]]
    solved = [(CAPTION_PROMPT, caption)]
    solved += [(question_prompt(item.question), item.answer) for item in choose_questions(questions, limit, *names)]
    return Example(image, tuple(solved))


def page_example(image: str, questions: Sequence[SolvedQuestion], limit: int, *names: object) -> Example:
    """Up to ``limit`` of the questions on a page, drawn by ``names``."""
    chosen = choose_questions(questions, limit, *names)
    return Example(image, tuple((question_prompt(item.question), item.answer) for item in chosen))
