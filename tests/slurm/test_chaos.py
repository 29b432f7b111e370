"""A short chaos run. The long ones, thirty faults and more, are started by hand: ``python -m tests.slurm.chaos``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.main_job import score_files
from tests.slurm.chaos import Chaos, Setup, small_disk, undisturbed
from tests.slurm.slurm_cluster import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]


def test_a_sweep_survives_whatever_dies(cluster: Cluster, tmp_path: Path) -> None:
    setup = Setup(seed=int(os.environ.get("CHAOS_SEED", "1")), runs=3, steps=200, checkpoint=2.0, faults=3, most=5)
    cache = tmp_path / "cache"
    scores = undisturbed(setup, tmp_path / "undisturbed", cache)
    with small_disk(tmp_path / "disk") as disk:
        chaos = Chaos(setup, cluster, disk, cache)
        told = chaos.run()
        assert score_files(chaos.results) == scores, told
    assert told["faults"] >= setup.faults, told
    assert told["results lost"] == told["published twice"] == 0, told
