"""A node that ends whatever runs on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from toy_graphs import Toys, done

from harness.launch import slurm
from harness.launch.slurm import Resources
from harness.launch.slurm.nodes import left_out
from harness.store import Store
from harness.store.batches import Batches
from tests.slurm.slurm_cluster import Cluster

pytestmark = pytest.mark.slurm

OTHERS = "n1,n3,n4"


@pytest.fixture
def only_n2(cluster: Cluster) -> Iterator[Cluster]:
    """All other nodes are drained."""
    cluster.command("scontrol", "update", f"NodeName={OTHERS}", "State=DRAIN", "Reason=test")
    yield cluster
    cluster.command("scontrol", "update", f"NodeName={OTHERS}", "State=RESUME", check=False)


def test_a_node_on_which_everything_dies_is_left_out(only_n2: Cluster, store: Store, toys: Toys) -> None:
    """Nobody waits: the jobs' own scripts and the warden find out."""
    stages = [toys.stage(f"victim{number}", behaviour="dies on n2") for number in range(3)]
    ids = {stage.id for stage in stages}
    wish = Resources(time_minutes=5, cpus=1, requeue=False)
    slurm.submit(store, toys.wanted(stages, wish))

    def avoiding() -> set[str]:
        """Stages whose latest job stays away from the node."""
        batches = Batches(store.root)
        latest = {stage_id: given[-1][0] for stage_id, given in batches.jobs().items()}
        return {stage_id for stage_id, batch in latest.items() if batch.wishes.get("exclude") == ["n2"]}

    only_n2.wait(lambda: avoiding() == ids, 100, "jobs elsewhere")
    (why,) = left_out(store, ids)
    assert why == "n2 is left out: 3 stages have died there and none was finished"
    died = sum(toys.notes("start").values())
    only_n2.command("scontrol", "update", f"NodeName={OTHERS}", "State=RESUME")
    only_n2.wait(lambda: done(store, stages) == ids, 100, "finished sweep")
    assert sum(toys.notes("start").values()) == died + len(stages)
