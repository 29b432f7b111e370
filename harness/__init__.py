"""Ablations of vision-language model design choices: one YAML in, a trustworthy table out."""

__version__ = "0.1.0"
