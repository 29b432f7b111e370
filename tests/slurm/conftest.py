from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.launch.slurm.settings import settings
from harness.store import Store, Terms
from tests.slurm.slurm_cluster import Cluster, Unavailable, install

HERE = Path(__file__).resolve().parent
TOYS = HERE.parent / "launch"
sys.path.insert(0, str(TOYS))

from toy_graphs import Toys  # noqa: E402


def _run(**options: bool) -> Iterator[Cluster]:
    """A cluster of four nodes; skips the tests, with the reason, where there cannot be one."""
    install()
    try:
        cluster = Cluster(nodes=4, **options)
    except Unavailable as reason:
        pytest.skip(str(reason))
    try:
        cluster.start()
    except Unavailable as reason:
        cluster.stop()
        pytest.skip(f"Slurm does not start here: {reason}")
    yield cluster
    cluster.stop()


def _idle(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, selected, with all nodes idle, and left so."""
    cluster.select()
    settings.cache_clear()
    cluster.idle()
    yield cluster
    cluster.idle()


@pytest.fixture(scope="session")
def plain_cluster() -> Iterator[Cluster]:
    """Without accounting, as on many small clusters."""
    yield from _run()


@pytest.fixture(scope="module")
def accounted_cluster() -> Iterator[Cluster]:
    """With accounting."""
    yield from _run(accounting=True)


@pytest.fixture(scope="module")
def strict_cluster() -> Iterator[Cluster]:
    """Takes no job back into its queue."""
    yield from _run(requeue=False)


@pytest.fixture(scope="module")
def warning_cluster() -> Iterator[Cluster]:
    """Warns jobs that it is going to preempt."""
    yield from _run(preempt_signal=True)


@pytest.fixture
def cluster(plain_cluster: Cluster) -> Iterator[Cluster]:
    yield from _idle(plain_cluster)


@pytest.fixture
def accounted(accounted_cluster: Cluster) -> Iterator[Cluster]:
    yield from _idle(accounted_cluster)


@pytest.fixture
def strict(strict_cluster: Cluster) -> Iterator[Cluster]:
    yield from _idle(strict_cluster)


@pytest.fixture
def warning(warning_cluster: Cluster) -> Iterator[Cluster]:
    yield from _idle(warning_cluster)


@pytest.fixture(params=["plain", "accounted"])
def either(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Without and with accounting."""
    yield from _idle(request.getfixturevalue(f"{request.param}_cluster"))


@pytest.fixture(params=["plain", "warning"])
def preempting(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Without and with a warning."""
    yield from _idle(request.getfixturevalue(f"{request.param}_cluster"))


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toys:
    inherited = [part for part in [os.environ.get("PYTHONPATH", "")] if part]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TOYS), *inherited]))
    return Toys(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", Terms(poll=0.2))
