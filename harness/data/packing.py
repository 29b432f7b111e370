"""Documents into rows: every row holds whole documents, never a part of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.data.documents import IMAGE, Document
from harness.data.views import is_tile
from harness.errors import HarnessError

IGNORED = -100


@dataclass(frozen=True)
class PackedRows:
    """Rows of documents as int64 [R, T]: ids, labels (-100 = none), positions, number of the document (0 = padding).

    ``images``: the keys of all images (of split pictures their views) in the row-major order of their placeholders;
    ``lengths``: tokens of each document.
    """

    ids: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    documents: np.ndarray
    images: tuple[str, ...]
    lengths: tuple[int, ...]

    @property
    def supervised(self) -> int:
        """Number of supervised tokens."""
        return int((self.labels != IGNORED).sum())

    @property
    def prompts(self) -> tuple[int, ...]:
        """Tokens of each prompt: a longest run of tokens of one document that are not supervised."""
        asked = (self.labels == IGNORED) & (self.documents != 0)
        starts = asked.copy()
        starts[:, 1:] &= ~(asked[:, :-1] & (self.documents[:, 1:] == self.documents[:, :-1]))
        return tuple(np.bincount(starts.cumsum()[asked.ravel()])[1:].tolist())

    @property
    def pictures(self) -> int:
        """Number of pictures, whatever the number of their views."""
        return sum(not is_tile(image) for image in self.images)

    @property
    def tokens(self) -> int:
        """Number of tokens that are not padding, placeholders included."""
        return int((self.documents != 0).sum())


def first_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Documents (by index) into rows of at most ``capacity`` tokens, each into the first row with room for it."""
    rows: list[list[int]] = []
    room: list[int] = []
    for index, length in enumerate(lengths):
        row = next((number for number, free in enumerate(room) if free >= length), None)
        if row is None:
            rows.append([])
            room.append(capacity)
            row = len(rows) - 1
        rows[row].append(index)
        room[row] -= length
    return rows


def pack(
    documents: Sequence[Document], placeholders: int, image_id: int, capacity: int, padding: int = 0
) -> PackedRows:
    """Documents into rows of at most ``capacity`` tokens, an image as ``placeholders`` ids ``image_id``.

    A document longer than a row is an error, never cut: cutting would drop other tokens in other variants.
    """
    lengths = [document.length(placeholders) for document in documents]
    if lengths and max(lengths) > capacity:
        shown = len(documents[lengths.index(max(lengths))].images)
        raise HarnessError(
            f"a document of {max(lengths)} tokens ({shown} images or views of {placeholders}) does not fit into a row "
            f"of {capacity}",
            remedy="raise training.max_length, for all variants alike; training.text_tokens_per_document limits the "
            "text of plain interleaved documents",
        )
    rows = first_fit(lengths, capacity)
    width = max((sum(lengths[index] for index in row) for row in rows), default=0)
    ids = np.full((len(rows), width), padding, dtype=np.int64)
    labels = np.full_like(ids, IGNORED)
    positions = np.zeros_like(ids)
    numbers = np.zeros_like(ids)
    images: list[str] = []
    for r, row in enumerate(rows):
        start = 0
        for number, index in enumerate(row, 1):
            document = documents[index]
            raw = np.array(document.ids, dtype=np.int64)
            repeats = np.where(raw == IMAGE, placeholders, 1)
            expanded = np.repeat(np.where(raw == IMAGE, image_id, raw), repeats)
            end = start + len(expanded)
            ids[r, start:end] = expanded
            labels[r, start:end] = np.where(np.repeat(np.array(document.supervised), repeats), expanded, IGNORED)
            positions[r, start:end] = np.arange(len(expanded))
            numbers[r, start:end] = number
            images += document.images
            start = end
    return PackedRows(ids, labels, positions, numbers, tuple(images), tuple(lengths))
