"""What a sweep measured: the table, its contrasts, effects, averages and price, and what stands beside it."""
