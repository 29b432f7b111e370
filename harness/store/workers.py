"""Which of many stages somebody works on: asked once for all, so that silent workers are waited for together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.store.lease import Held, Terms, Watch

OnWait = Callable[[int, float], None]
"""Told how many workers elsewhere are looked at, and for how many seconds at most."""


def busy(
    leases: Path, stage_ids: Iterable[str], terms: Terms, on_wait: OnWait = lambda number, seconds: None
) -> tuple[set[str], dict[str, str]]:
    """The stages that a living process may be working on, and the tokens of holders that have been waited for in vain.

    A process on this machine is seen; one elsewhere lives when its heartbeat changes within the store's patience.
    """
    watches = {stage_id: Watch(leases / stage_id, "", terms) for stage_id in stage_ids}
    living: set[str] = set()
    unknown: dict[str, Held] = {}
    for stage_id, watch in watches.items():
        try:
            held = watch.look()
        except OSError:  # nobody knows
            living.add(stage_id)
            continue
        if held is not None and held.owner.is_alive():
            living.add(stage_id)
        elif held is not None:
            unknown[stage_id] = held
    if unknown:
        on_wait(len(unknown), terms.patience)
    while unknown:
        time.sleep(terms.poll)
        for stage_id, first in list(unknown.items()):
            try:
                held = watches[stage_id].look()
            except OSError:
                del unknown[stage_id]
                living.add(stage_id)
                continue
            if held is None:
                del unknown[stage_id]
            elif (held.generation, held.beat) != (first.generation, first.beat):
                del unknown[stage_id]
                living.add(stage_id)
    return living, {stage_id: watch.presumed_dead for stage_id, watch in watches.items() if watch.presumed_dead}
