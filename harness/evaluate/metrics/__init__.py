"""Scores of answers: VQA accuracy and CIDEr-D, each variant named."""

from harness.evaluate.metrics.cider import CiderScores, cider_d
from harness.evaluate.metrics.ptb import ptb_tokenize
from harness.evaluate.metrics.vqa import vqa_accuracy

__all__ = ["CiderScores", "cider_d", "ptb_tokenize", "vqa_accuracy"]
