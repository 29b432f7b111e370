"""Splitting, aspect ratio and resolution in a plan: what they change, what they leave alone, what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.data.views import Splitting
from harness.models.architecture import Workload
from harness.models.flops import Tuned, VLMCosts
from harness.models.settings import Tuning
from harness.plan import Plan, measure, sizes
from harness.spec import load
from harness.store import Stage
from tests.synthetic import LANGUAGE, VISION, make_plan, write_sweep

WHERE = {
    "none": {},
    "evaluation": {"evaluation.splitting.kind": "quadrants"},
    "both": {"training.splitting.kind": "quadrants", "evaluation.splitting.kind": "quadrants"},
    "half": {
        "training.splitting.kind": "quadrants",
        "training.splitting.share": 0.5,
        "evaluation.splitting.kind": "quadrants",
    },
}


def plan_of(folder: Path, *overrides: str, levels: dict[str, Any] = WHERE, baseline: str = "none") -> Plan:
    changes = {
        "factors": {"splitting": {"levels": levels}},
        "baseline": {"splitting": baseline},
        "claims": [],
        "positive_control": None,
    }
    return make_plan(write_sweep(folder, **changes), overrides)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return plan_of(tmp_path_factory.mktemp("images"))


def of_kind(plan: Plan, kind: str) -> list[Stage]:
    return [stage for stage in plan.stages.values() if stage.kind == kind]


def test_splitting_in_evaluation_alone_trains_nothing_anew(plan: Plan) -> None:
    runs = {name: found[0] for name, found in plan.by_variant().items()}
    none, evaluation, both, half = (runs[f"splitting={level}"] for level in WHERE)
    assert none.train == evaluation.train
    assert not set(none.evaluate.values()) & set(evaluation.evaluate.values())
    assert not set(none.train) & set(both.train)
    assert not set(both.train) & set(half.train)


def test_whole_pictures_are_encoded_once_and_tiles_in_a_stage_of_their_own(plan: Plan) -> None:
    stages = of_kind(plan, "features")
    assert sorted((stage.config["images"], "splitting" in stage.config) for stage in stages) == [
        ("evaluation", False),
        ("evaluation", True),
        ("training", False),
        ("training", True),  # of a share or of all: the same
    ]
    for run in plan.runs:
        for stage_id in (*run.train, *run.evaluate.values()):
            inputs = plan.stages[stage_id].inputs
            split = "splitting" in plan.stages[stage_id].config.get("phase", plan.stages[stage_id].config)
            assert ("tile_features" in inputs) == split
            assert "features" in inputs
            assert {inputs["features"]} <= set(run.features)


def test_the_defaults_written_out_change_no_id(tmp_path: Path) -> None:
    before = make_plan(write_sweep(tmp_path))
    overrides = [
        "model.image.aspect=square",
        "training.splitting.kind=none",
        "evaluation.splitting.kind=none",
    ]
    assert list(make_plan(write_sweep(tmp_path / "b"), overrides).stages) == list(before.stages)


@pytest.mark.parametrize(
    ("override", "kinds"),
    [
        ("model.image.aspect=letterbox", {"features", "train", "evaluate"}),
        ("training.splitting.kind=quadrants", {"train", "evaluate"}),
        ("evaluation.splitting.kind=quadrants", {"evaluate"}),
    ],
)
def test_what_each_key_changes(tmp_path: Path, override: str, kinds: set[str]) -> None:
    before, after = make_plan(write_sweep(tmp_path)), make_plan(write_sweep(tmp_path / "b"), [override])
    for kind in ("features", "train", "evaluate"):
        kept = {stage.id for stage in of_kind(before, kind)} <= {stage.id for stage in of_kind(after, kind)}
        assert kept == (kind not in kinds), kind


def test_visual_tokens_count_all_views(plan: Plan) -> None:
    found = measure(plan).variants
    assert [found[f"splitting={level}"].visual_tokens for level in WHERE] == [9, 45, 45, 45]


def test_views_cost_what_images_cost(plan: Plan) -> None:
    """By hand, at the smoke scale: half of the batch documents of one picture, half of two."""
    found = measure(plan)
    run = plan.by_variant()["splitting=both"][0]
    config = run.variant.config
    costs = VLMCosts.of(config.model, VISION, LANGUAGE)
    documents = [
        Workload((5 * n * 9 + n * text,), 5 * n, round(n * text * sizes.SUPERVISED))
        for n, text in ((1, sizes.PAIR_TOKENS), (2, sizes.EXAMPLE_TOKENS))
    ]
    tuned = Tuned(Tuning.of(config.phases["main"].tuning.model_dump()))
    one, two = (costs.training_flops(work, tuned, True).total for work in documents)
    assert found.flops[run.train[1]] == round((0.5 * one + 0.5 * two) * 2 * 4)
    half = plan.by_variant()["splitting=half"][0]
    none = plan.by_variant()["splitting=none"][0]
    assert found.flops[none.train[1]] < found.flops[half.train[1]] < found.flops[run.train[1]]
    tiles = {
        "splitting" in plan.stages[stage_id].config: found.flops[stage_id]
        for stage_id in run.features
        if plan.stages[stage_id].config["images"] == "training"
    }
    assert tiles[True] == 4 * tiles[False]


def test_tiles_count_towards_the_feature_cache(tmp_path: Path) -> None:
    def gigabytes(views: int) -> float:
        return views * 144 * 32 * 2 / 1e9

    pictures = 64 + (16 + 8) + (8 + 4) + (16 + 8)
    for views, fits in ((5 * pictures, True), (5 * pictures - 1, False)):
        found = plan_of(tmp_path / str(views), f"runtime.feature_cache_gb={gigabytes(views)}", baseline="both")
        run = found.by_variant()["splitting=both"][0]
        assert bool(run.features) == fits


def test_a_grid_counts_its_tiles(tmp_path: Path) -> None:
    grid = {"evaluation.splitting.kind": "grid", "evaluation.splitting.longest_side": 250}
    found = measure(plan_of(tmp_path, levels={"none": {}, "grid": grid}))
    assert found.variants["splitting=grid"].visual_tokens == 9 * (9 + 1)
    assert len(Splitting("grid", 96, longest_side=250).tiles((192, 192))) == 9


def test_shipped_ablations_are_about_views_resolution_and_aspect() -> None:
    for name in ("image_splitting", "resolution", "aspect_ratio"):
        sweep = load(Path(__file__).parents[2] / "ablations" / f"{name}.yaml", [])
        assert sweep.positive_control is not None, name
        assert sweep.claims, name
