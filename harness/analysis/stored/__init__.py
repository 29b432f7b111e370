"""Sweeps, runs, scores and training curves as the store holds them."""
