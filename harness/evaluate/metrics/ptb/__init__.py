"""The tokeniser of caption evaluation in pure Python, and a bridge to the Java program it agrees with."""

from harness.evaluate.metrics.ptb.tokenizer import ptb_tokenize

__all__ = ["ptb_tokenize"]
