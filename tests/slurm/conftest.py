from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.store import Store, Terms

HERE = Path(__file__).resolve().parent
TOYS = HERE.parent / "launch"
sys.path[:0] = [str(HERE), str(TOYS)]

from slurm_cluster import Cluster, Unavailable, install  # noqa: E402
from toy_graphs import Toys  # noqa: E402


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[Cluster]:
    """A Slurm of four nodes for all tests; skips them, with the reason, where there cannot be one."""
    install()
    try:
        cluster = Cluster(nodes=4)
    except Unavailable as reason:
        pytest.skip(str(reason))
    try:
        cluster.start()
    except Unavailable as reason:
        cluster.stop()
        pytest.skip(f"Slurm does not start here: {reason}")
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(running_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with all nodes idle, and left so."""
    running_cluster.idle()
    yield running_cluster
    running_cluster.idle()


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toys:
    inherited = [part for part in [os.environ.get("PYTHONPATH", "")] if part]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TOYS), *inherited]))
    return Toys(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", Terms(poll=0.2))
