"""Intervals, tests and verdicts for values of samples: whatever they are of, wherever they came from."""
