"""Training: encoding images once, one phase after the other, and what is recorded of it."""
