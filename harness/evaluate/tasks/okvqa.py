"""OK-VQA (Marino et al. 2019): questions that need knowledge which the image does not show."""

from __future__ import annotations

from harness.evaluate.tasks.base import QuestionTask


class OKVQA(QuestionTask):
    """Five annotators, each counted twice. Answers are the file's ``answer`` (stemmed), predictions are not stemmed."""

    name = "okvqa"
    metrics = ("vqa-always", "okvqa-v1.1", "okvqa-raw", "vqa-2021", "vqa-2015")
