from __future__ import annotations

import shutil
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from harness.evaluate.protocol import Protocol
from harness.plan import Plan
from harness.spec import PhaseConfig
from harness.store import Stage
from tests.synthetic import TASKS, make_plan, write_sweep


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make_plan(write_sweep(tmp_path_factory.mktemp("plan")))


def plan_of(folder: Path, *overrides: str, **changes: Any) -> Plan:
    return make_plan(write_sweep(folder, **changes), overrides)


def of_kind(plan: Plan, kind: str) -> list[Stage]:
    return [stage for stage in plan.stages.values() if stage.kind == kind]


def test_shared_work_is_there_once(plan: Plan) -> None:
    assert len(plan.runs) == 4
    assert len(of_kind(plan, "features")) == 2  # training and evaluation images
    assert len(of_kind(plan, "train")) == 4 * 2
    assert len(of_kind(plan, "evaluate")) == 4 * 4
    users = plan.users()
    assert all(len(users[stage.id]) == 4 for stage in of_kind(plan, "features"))


def test_variants_that_differ_in_a_later_phase_share_the_earlier_one(tmp_path: Path) -> None:
    factors = {"steps": {"key": "phases.main.steps", "levels": [2, 3]}}
    plan = plan_of(tmp_path, factors=factors, baseline={"steps": 2}, claims=[], positive_control=None)
    names = [stage.config["name"] for stage in of_kind(plan, "train")]
    assert sorted(names) == ["align", "main", "main"]


def test_replicates_are_the_same_work_with_other_random_numbers(tmp_path: Path) -> None:
    factors = {"replicate": {"key": "randomness.replicate", "levels": [0, 1]}}
    plan = plan_of(tmp_path, "seeds=[3]", factors=factors, baseline={"replicate": 0}, claims=[], positive_control=None)
    first, second = plan.runs
    assert first.features == second.features
    for ours, theirs in zip(first.train, second.train, strict=True):
        before, after = dict(plan.stages[ours].config), dict(plan.stages[theirs].config)
        assert before.pop("seed") == 3
        assert after.pop("seed") == 3 + 2**32  # of no seed that a spec may give
        assert before == after


def test_inputs_come_first_and_runs_stay_together(plan: Plan) -> None:
    seen: set[str] = set()
    for stage_id, stage in plan.stages.items():
        assert set(stage.inputs.values()) <= seen
        seen.add(stage_id)
    # The first run's last stage comes before anything of the second that the two do not share.
    order = list(plan.stages)
    first, second = plan.runs[0], plan.runs[1]
    own = [order.index(stage_id) for stage_id in second.stages if stage_id not in first.stages]
    assert max(order.index(stage_id) for stage_id in first.stages) < min(own)


def test_the_baseline_is_first_and_seeds_are_outermost(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "seeds=[3,1]")
    assert [run.seed for run in plan.runs] == [3] * 4 + [1] * 4
    assert plan.runs[0].variant.is_baseline
    assert plan.runs[4].variant.is_baseline
    for run in plan.runs:
        own = [plan.stages[stage_id] for stage_id in (*run.train, *run.evaluate.values())]
        assert {stage.config["seed"] for stage in own} == {run.seed}
    assert len(of_kind(plan, "train")) == 2 * 4 * 2
    assert len(of_kind(plan, "features")) == 2


def test_one_more_level_seed_or_task_adds_stages_and_changes_none(plan: Plan, tmp_path: Path) -> None:
    for number, override in enumerate(["factors.tokens.levels=[4,9,16]", "seeds=[0,1]"]):
        larger = plan_of(tmp_path / str(number), override)
        assert set(plan.stages) < set(larger.stages)
    fewer = plan_of(
        tmp_path / "fewer",
        claims=[],
        positive_control=None,
        variants=None,
        **{"analysis": {"primary": "vqav2"}},
    )
    assert set(fewer.stages) == set(plan.stages)


def test_a_task_of_other_size_changes_its_own_evaluations_only(plan: Plan, tmp_path: Path) -> None:
    other = plan_of(tmp_path, "evaluation.tasks.coco.samples=5")
    new = [stage for stage_id, stage in other.stages.items() if stage_id not in plan.stages]
    assert {(stage.kind, stage.config.get("task")) for stage in new} == {("evaluate", "coco")}
    assert len(new) == 4


@pytest.mark.parametrize(
    "override",
    [
        *("runtime.processes=3", "runtime.threads=2", "cluster.partition=gpu", "name=other"),
        # At their defaults, or not read, what came to the schema later is no part of an identity.
        "training={captions: human, questions_per_image: 6, text_tokens_per_document: null}",
        "data.microworld={other_captions: [], train_pages: 0, alt_text_noise: 0.3}",
        "training.mixture={transcriptions: 0.0, document_questions: 0.0}",
    ],
)
def test_what_cannot_change_a_result_changes_no_id(plan: Plan, tmp_path: Path, override: str) -> None:
    assert set(plan_of(tmp_path, override).stages) == set(plan.stages)


@pytest.mark.parametrize(
    ("override", "kinds"),
    [
        ("training.batch_size=6", {"train", "evaluate"}),
        ("data.microworld.seed=7", {"features", "train", "evaluate"}),
        ("data.microworld.train_pages=7", {"features", "train", "evaluate"}),
        ("data.microworld.other_captions=[alt_text]", {"features", "train", "evaluate"}),
        ("training.questions_per_image=2", {"train", "evaluate"}),
        ("training.text_tokens_per_document=100", {"train", "evaluate"}),
        ("evaluation.demonstration_seed=1", {"evaluate"}),
        ("evaluation.shots=2", {"evaluate"}),
        ("model.language.initialization=random", {"train", "evaluate"}),
        ("model.image.size=72", {"features", "train", "evaluate"}),
    ],
)
def test_what_can_change_a_result_changes_ids(plan: Plan, tmp_path: Path, override: str, kinds: set[str]) -> None:
    changed = plan_of(tmp_path, override)
    for kind in ("features", "train", "evaluate"):
        same = {stage.id for stage in of_kind(changed, kind)} & {stage.id for stage in of_kind(plan, kind)}
        assert bool(same) == (kind not in kinds), kind


def test_other_weights_change_everything_behind_them(tmp_path: Path) -> None:
    before = plan_of(tmp_path / "a")
    file = write_sweep(tmp_path / "b")
    (file.parent / "language" / "model.safetensors").write_bytes(b"others")
    after = make_plan(file)
    assert {s.id for s in of_kind(before, "features")} == {s.id for s in of_kind(after, "features")}
    assert not {s.id for s in of_kind(before, "train")} & {s.id for s in of_kind(after, "train")}
    assert not {s.id for s in of_kind(before, "evaluate")} & {s.id for s in of_kind(after, "evaluate")}


def test_ids_do_not_depend_on_where_weights_and_caches_lie(plan: Plan, tmp_path: Path) -> None:
    moved = plan_of(tmp_path / "somewhere" / "else")
    assert list(moved.stages) == list(plan.stages)
    train = of_kind(moved, "train")[0]
    assert train.location["vision"] == str(tmp_path / "somewhere" / "else" / "vision")
    assert "somewhere" not in str(train.identity)


def test_features_hold_only_while_the_encoder_has_never_been_trained(tmp_path: Path) -> None:
    frozen = {"vision": "frozen", "connector": "full", "language": "full"}
    tuned = {**frozen, "vision": "full"}
    phases = {"one": {"steps": 1}, "two": {"steps": 1, "tuning": tuned}, "three": {"steps": 1, "tuning": frozen}}
    plan = plan_of(tmp_path, phases={**phases, "align": None, "main": None})
    run = plan.runs[0]
    uses = ["features" in plan.stages[stage_id].inputs for stage_id in run.train]
    assert uses == [True, False, False]
    assert all("features" not in plan.stages[stage_id].inputs for stage_id in run.evaluate.values())
    assert [stage.config["images"] for stage in of_kind(plan, "features")] == ["training"]


@pytest.mark.parametrize(
    ("overrides", "count"),
    [
        (["runtime.feature_cache=off"], 0),
        (["runtime.feature_cache_gb=0.0001"], 0),
        (["runtime.feature_cache=on", "runtime.feature_cache_gb=0.0001"], 2),
    ],
)
def test_the_feature_cache_can_be_off_or_too_small(tmp_path: Path, overrides: list[str], count: int) -> None:
    assert len(of_kind(plan_of(tmp_path, *overrides), "features")) == count


def test_phases_follow_each_other(plan: Plan) -> None:
    for run in plan.runs:
        align, main = (plan.stages[stage_id] for stage_id in run.train)
        assert (align.config["name"], main.config["name"]) == ("align", "main")
        assert "previous" not in align.inputs
        assert main.inputs["previous"] == align.id
        assert {plan.stages[stage_id].inputs["model"] for stage_id in run.evaluate.values()} == {main.id}


def test_executors_find_what_they_read(plan: Plan) -> None:
    run = plan.runs[0]
    assert tuple(run.evaluate) == TASKS
    for task, stage_id in run.evaluate.items():
        stage = plan.stages[stage_id]
        required = {field.name for field in fields(Protocol) if field.default is MISSING}
        assert required <= set(stage.config) <= {field.name for field in fields(Protocol)}
        assert Protocol.of(stage.config).task == task
        assert set(stage.digests) == {"data"}
    for stage_id in run.train:
        stage = plan.stages[stage_id]
        assert set(stage.config) == {"model", "phase", "name", "seed"}
        assert set(stage.digests) == {"data", "vision", "language"}
        assert set(stage.location) == {"data", "world", "vision", "language"}
        PhaseConfig.model_validate(stage.config["phase"])
    for stage_id in run.features:
        stage = plan.stages[stage_id]
        assert set(stage.config) == {"image", "images"}
        assert set(stage.location) == {"data", "world", "vision"}


def test_stages_do_not_share_mutable_parts(plan: Plan) -> None:
    one, two = (plan.stages[stage_id] for stage_id in plan.runs[0].train)
    assert one.config["model"] is not two.config["model"]


def test_an_own_data_folder_is_known_by_its_manifest(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "file.json").write_text("{}")
    file = write_sweep(tmp_path)
    override = f"data.root={data}"
    before = make_plan(file, [override])
    stage = next(iter(before.stages.values()))
    assert "world" not in stage.location
    assert stage.location["data"] == str(data)
    assert (data / "MANIFEST.json").exists()
    moved = tmp_path / "moved"
    shutil.copytree(data, moved)
    assert list(make_plan(file, [f"data.root={moved}"]).stages) == list(before.stages)
    (moved / "MANIFEST.json").unlink()
    (moved / "file.json").write_text("[]")
    assert not set(make_plan(file, [f"data.root={moved}"]).stages) & set(before.stages)


def test_an_encoder_trained_by_lora_needs_no_features(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "training.tuning.vision=lora", "phases.align.tuning.vision=lora")
    assert not of_kind(plan, "features")
