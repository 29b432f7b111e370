"""What was asked and what came out, sample by sample."""
