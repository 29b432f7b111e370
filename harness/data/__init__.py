"""Data: official benchmark files and training shards in, examples, documents and batches out."""
