"""What jobs ask for: of each stage's kind, of the variants that need it, for about the time that it will take."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.launch.slurm.resources import Resources
from harness.launch.slurm.runs import WantedRun
from harness.launch.slurm.sbatch import sbatch
from harness.launch.slurm.shape import shape
from harness.launch.slurm.wishes import wishes
from harness.plan import Costs, Plan, measure
from harness.plan.cost import StageCost
from harness.store.batches import Batches
from tests.launch.slurm.conftest import Fake
from tests.synthetic import SWEEP, make_plan, write_sweep

LEVELS = {
    "tokens": {
        "levels": {
            "few": {"model.connector.num_tokens": 4},
            "many": {"model.connector.num_tokens": 9, "cluster.memory_gb": 40.0, "cluster.stages.train.gpus": 2},
        }
    },
    "pooling": SWEEP["factors"]["pooling"],
}


def planned(folder: Path, *overrides: str) -> Plan:
    changes = {"factors": LEVELS, "claims": [], "baseline": {"tokens": "few", "pooling": "perceiver"}}
    return make_plan(write_sweep(folder, **changes, positive_control=None), overrides)


def costs(plan: Plan, seconds: float, basis: str) -> Costs:
    return Costs(measure(plan), {stage_id: StageCost(0, seconds, basis) for stage_id in plan.stages})


def test_a_stage_asks_as_its_kind_and_its_variants_say(tmp_path: Path) -> None:
    plan = planned(tmp_path, "cluster.stages={features: {cpus: 7}}", "cluster.partition=gpu")
    found = wishes(plan, costs(plan, 1.0, "measured rate"))
    assert found.keys() == plan.stages.keys()
    for stage_id, users in plan.users().items():
        kind, wish = plan.stages[stage_id].kind, found[stage_id]
        many = any(run.variant.levels["tokens"] == "many" for run in users)
        assert wish.partition == "gpu"
        assert wish.memory_gb == (40.0 if many else 4.0), "what several need has room for the largest"
        assert wish.cpus == (7 if kind == "features" else 1)
        assert wish.gpus == (2 if many and kind == "train" else 0)
        assert wish.time_minutes == 60


@pytest.mark.parametrize(
    ("seconds", "minutes"), [(1.0, 10), (200.0, 10), (201.0, 20), (600.0, 40), (1200.0, 60), (1e6, 60)]
)
def test_a_known_price_is_asked_for_with_room(tmp_path: Path, seconds: float, minutes: int) -> None:
    plan = planned(tmp_path)
    assert {wish.time_minutes for wish in wishes(plan, costs(plan, seconds, "recorded")).values()} == {minutes}
    rough = wishes(plan, costs(plan, seconds, "measured rate"))
    assert {wish.time_minutes for wish in rough.values()} == {60}, "another machine's guess binds nobody"


def test_the_queue_before_it_is_there(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    found = wishes(plan, costs(plan, 1.0, "measured rate"))
    groups = shape(list(plan.stages.values()), found, dict.fromkeys(plan.stages, 1800.0))
    assert sum(group.jobs for group in groups) == len(plan.stages)
    assert {group.kind for group in groups} == {stage.kind for stage in plan.stages.values()}
    trained = [group for group in groups if group.kind == "train" and group.wish.gpus]
    assert [group.gpu_hours for group in trained] == [2 * 0.5 * trained[0].jobs]
    assert sum(group.core_hours for group in groups) == pytest.approx(0.5 * len(plan.stages))


def test_gpus_are_asked_for_by_their_model(tmp_path: Path, fake: Fake) -> None:
    fake("sbatch", f'cp "$1" {tmp_path}/script; echo Submitted batch job 7')
    plan = planned(tmp_path, "cluster.gpus=4", "cluster.gpu_type=a100", "cluster.stages={features: {gpus: 0}}")
    found = wishes(plan, costs(plan, 1.0, "measured rate"))
    lines = {}
    for stage_id, stage in plan.stages.items():
        batch = Batches(tmp_path / "store").add({0: stage}, {})
        wanted = WantedRun("x", [stage], [found[stage_id]])
        sbatch(batch, wanted, tmp_path / "run.jsonl", found[stage_id])
        lines[stage.kind] = [
            each for each in (tmp_path / "script").read_text().splitlines() if each.startswith("#SBATCH --gpus")
        ]
    assert lines["evaluate"] == ["#SBATCH --gpus-per-node=a100:4"]
    assert lines["features"] == []


def test_the_processes_of_a_job_share_its_work(tmp_path: Path) -> None:
    plan = planned(tmp_path, "runtime.ranks=4")
    for stage_id, wish in wishes(plan, costs(plan, 2400.0, "recorded")).items():
        several = plan.stages[stage_id].kind in ("train", "evaluate")
        assert wish.tasks == (4 if several else None)
        assert wish.lasts(2400.0) == (600.0 if several else 2400.0)
        assert wish.time_minutes == (40 if several else 60)


def test_cores_do_not_make_a_job_longer(tmp_path: Path) -> None:
    """Eight cores that were busy for a quarter of an hour."""
    plan = planned(tmp_path)
    price = StageCost(0, 7200.0, "recorded", 600.0)
    found = wishes(plan, Costs(measure(plan), dict.fromkeys(plan.stages, price)))
    assert {wish.time_minutes for wish in found.values()} == {40}


def test_wishes_survive_json() -> None:
    wish = Resources(
        partition="p", exclude=("n1", "n2"), options=(("constraint", "a100"), ("exclusive", True)), python=("a", "b"),
        srun=("--mpi=none",), setup=("module load x",), scratch="$TMPDIR", gpus=2, gpu_type="a100", requeue=False,
    )  # fmt: skip
    import json

    assert Resources.from_json(json.loads(json.dumps(wish.to_json()))) == wish
    assert Resources.from_json({}) == Resources()
