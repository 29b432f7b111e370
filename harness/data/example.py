"""One question, or one picture to describe, of a benchmark."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """An item of a benchmark with everything that scoring it and choosing demonstrations needs.

    ``sample_id``: the official question id, or the image id for captions. ``image_id``: as text, equal for all examples
    of one picture. ``image``: the picture's key for ``Dataset.image``. ``answers``: the ten annotators' answers, or the
    reference captions. ``raw_answers``: OK-VQA's answers before they were stemmed, else empty. ``consensus``: the
    answer to show when the example is a demonstration: the file's own choice where it has one, else the most frequent
    (the first of equals); for captions empty. ``subset``: what is reported apart (``unseen_signs``,
    ``untaught_facts``), mostly empty.
    """

    sample_id: int
    image_id: str
    image: str
    question: str
    answers: tuple[str, ...]
    raw_answers: tuple[str, ...]
    consensus: str
    question_type: str
    answer_type: str
    subset: str = ""
