"""VQAv2 (Goyal et al. 2017): questions about images, ten annotators each."""

from __future__ import annotations

from harness.evaluate.tasks.base import QuestionTask


class VQAv2(QuestionTask):
    """Answers are short; the accuracy of Antol et al. 2015 over ten annotators."""

    name = "vqav2"
    metrics = ("vqa-always", "vqa-2021", "vqa-2015")
