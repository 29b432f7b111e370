"""What becomes of a stage when one of its ranks is lost."""

from __future__ import annotations


class RankLost(Exception):
    """Another rank failed or is gone, so that the stage cannot go on; ``reason`` is its own word where it left one."""

    def __init__(
        self, reason: str, retryable: bool = True, out_of_memory: bool = False, storage_full: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable
        self.out_of_memory = out_of_memory
        self.storage_full = storage_full
