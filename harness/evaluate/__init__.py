"""Few-shot evaluation: tasks, demonstrations, decoding on shared prefixes, blind controls, records."""
