"""What models answered, for the few samples that are looked at."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from harness.analysis.samples.scores import INTACT
from harness.errors import HarnessError


def read_answers(path: Path, sample_ids: Collection[str]) -> dict[str, str]:
    """Sample id → the answer that was scored. Raises ``HarnessError`` when the file of scores is damaged."""
    from pyarrow import ArrowException, parquet

    try:
        table = parquet.read_table(
            path,
            columns=["sample_id", "answer"],
            filters=[("condition", "==", INTACT), ("sample_id", "in", sorted(sample_ids))],
            use_threads=False,
        )
    except (ArrowException, OSError, KeyError, ValueError) as error:
        raise HarnessError(
            f"the answers in {path} cannot be read: {str(error).splitlines()[0]}", "The file is damaged."
        ) from error
    return dict(zip(table["sample_id"].to_pylist(), table["answer"].to_pylist(), strict=True))
