"""TextVQA (Singh et al. 2019): questions about text in the image. No OCR tokens are given to the model."""

from __future__ import annotations

from harness.evaluate.tasks.base import QuestionTask


class TextVQA(QuestionTask):
    """Scored as its own evaluation does (M4C), which cleans answers differently from VQAv2."""

    name = "textvqa"
    metrics = ("textvqa-m4c", "vqa-always")
