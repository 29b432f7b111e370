"""What goes through a split model where ranks meet in every layer: as many passes on each, through the same components.

Ranks have different documents. One may have fewer micro-batches than another, or one without any image while others
show theirs to the encoder. It would wait for ever for ranks that never come. So a rank without a micro-batch passes a
filler, whose loss counts nothing, and one without images passes the filler beside its own documents, without labels.
Where no rank shows an image the filler has none either: what nothing has touched must stay without a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch

from harness.data.documents import Document, without_images
from harness.data.packing import PackedRows
from harness.distributed.ranks import Ranks

Pack = Callable[[Sequence[Document]], PackedRows]


def alike(chunks: Sequence[Sequence[Document]], filler: Document, pack: Pack, ranks: Ranks) -> list[PackedRows]:
    """The passes of a step: one for each micro-batch (``chunks``) of this rank, in order, then those for the others.

    A collective. ``filler`` is the same on all ranks, and has an image if any document has.
    """
    passes = int(ranks.largest(torch.tensor([len(chunks)])))
    documents = [*chunks, *[[]] * (passes - len(chunks))]
    shows = torch.tensor([any(document.images for document in each) for each in documents], dtype=torch.int64)
    wanted = ranks.largest(shows.clone())
    unlabelled = replace(filler, supervised=(False,) * len(filler.supervised))
    found = []
    for own, shown, needed in zip(documents, shows.tolist(), wanted.tolist(), strict=True):
        if not own:
            own = [filler if needed else without_images(filler)]
        elif needed > shown:
            own = [*own, unlabelled]
        found.append(pack(own))
    return found


def find_filler(documents: Iterable[Document]) -> Document:
    """The first document with an image, or the first if none has."""
    first = None
    for document in documents:
        if document.images:
            return document
        first = first or document
    assert first is not None  # a phase has steps and a step has documents
    return first
