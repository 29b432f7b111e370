from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from harness.models.architecture import Workload
from harness.models.flops import Tuned, VLMCosts
from harness.models.settings import Tuning
from harness.plan import Plan, cost, estimate, measure, sizes
from harness.plan.cost import Recorded, StageCost, _Clock
from harness.store import Stage, Store
from harness.store.record import read as read_record
from harness.store.record import write as write_record
from tests.synthetic import LANGUAGE, VISION, finish, finish_run, make_plan, record, write_sweep


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make_plan(write_sweep(tmp_path_factory.mktemp("cost")))


def test_parameters_are_those_of_the_models_room(plan: Plan) -> None:
    sizes = measure(plan)
    for variant in plan.sweep.variants:
        costs = VLMCosts.of(variant.config.model, VISION, LANGUAGE)
        counts = costs.parameters(Tuned(Tuning("frozen", "full", "full")))
        found = sizes.variants[variant.name]
        assert (found.parameters, found.trainable) == (counts.all.total, counts.trainable.total)
        assert (found.connector, found.matched) == (counts.all.connector, {})
        assert found.visual_tokens == int(variant.levels["tokens"])


def test_a_connector_of_a_number_of_parameters_says_how_wide_it_is(tmp_path: Path) -> None:
    levels = {"perceiver": {"model.connector.kind": "perceiver"}}
    levels["matched"] = {"model.connector.kind": "average_pool", "model.connector.parameters": 40_000}
    factors = {"pooling": {"levels": levels}}
    changes = {"factors": factors, "baseline": {"pooling": "perceiver"}, "claims": [], "positive_control": None}
    sizes = measure(make_plan(write_sweep(tmp_path, **changes)))
    found = sizes.variants["pooling=matched"]
    (width,) = found.matched.values()
    assert found.matched.keys() == {"hidden_size"}
    assert found.connector == width * (32 + 1 + 32) + 32 + 32  # with the gain of the output norm
    assert abs(found.connector - 40_000) <= 65 / 2
    assert sizes.variants["pooling=perceiver"].matched == {}


def test_training_flops_are_steps_times_documents(plan: Plan) -> None:
    """By hand: one document with one image and one with two, half of the batch each (the smoke scale)."""
    run = plan.runs[0]
    config = run.variant.config
    costs = VLMCosts.of(config.model, VISION, LANGUAGE)
    tuning = Tuning("frozen", "full", "full")
    tokens = config.model.connector.num_tokens
    documents = [
        Workload((images * (tokens + text),), images, round(images * text * sizes.SUPERVISED))
        for images, text in ((1, sizes.PAIR_TOKENS), (2, sizes.EXAMPLE_TOKENS))
    ]
    one, two = (costs.training_flops(work, Tuned(tuning), cached_features=True).total for work in documents)
    assert measure(plan).flops[run.train[1]] == round((0.5 * one + 0.5 * two) * 2 * 4)


def test_pairs_cost_what_is_said_about_them() -> None:
    """Counted over the microworld with the zoo's tokenizer: 16, 43 and 92 tokens, of which 13, 18 and 27 are learnt."""
    assert sizes.pair_tokens(6) == (sizes.PAIR_TOKENS, pytest.approx(sizes.SUPERVISED))
    for questions, counted, told in ((0, 16, 13), (2, 43, 18)):
        tokens, share = sizes.pair_tokens(questions)
        assert abs(tokens - counted) <= 2
        assert abs(tokens * share - told) <= 1


def test_pages_count_as_documents_of_one_image(tmp_path: Path) -> None:
    mixture = "training.mixture={pairs: 0.5, interleaved: 0.0, transcriptions: 0.25, document_questions: 0.25}"
    plan = make_plan(write_sweep(tmp_path), (mixture, "data.microworld.train_pages=5"))
    run = plan.runs[0]
    config = run.variant.config
    costs = VLMCosts.of(config.model, VISION, LANGUAGE)
    tokens = config.model.connector.num_tokens
    texts = {sizes.pair_tokens(6): 0.5, **dict.fromkeys(sizes.PAGE_TOKENS.values(), 0.25)}
    total = sum(
        share
        * costs.training_flops(
            Workload((tokens + text,), 1, round(text * told)), Tuned(Tuning("frozen", "full", "full")), True
        ).total
        for (text, told), share in texts.items()
    )
    assert measure(plan).flops[run.train[1]] == round(total * 2 * 4)


def test_a_variant_has_the_flops_of_all_its_phases(plan: Plan) -> None:
    sizes = measure(plan)
    run = plan.runs[0]
    assert sizes.variants[run.variant.name].train_flops == sum(sizes.flops[stage_id] for stage_id in run.train)


def test_without_cached_features_training_pays_for_the_encoder(tmp_path: Path, plan: Plan) -> None:
    online = make_plan(write_sweep(tmp_path), ["runtime.feature_cache=off"])
    cached, found = measure(plan), measure(online)
    assert all(each.train_flops > cached.variants[name].train_flops for name, each in found.variants.items())
    task = "vqav2"  # so does evaluation
    ids = online.runs[0].evaluate[task], plan.runs[0].evaluate[task]
    assert found.flops[ids[0]] > cached.flops[ids[1]]


def test_more_tokens_cost_more(plan: Plan) -> None:
    variants = measure(plan).variants
    assert variants["tokens=9,pooling=average"].train_flops > variants["tokens=4,pooling=average"].train_flops


def test_adapters_count_as_trained(tmp_path: Path) -> None:
    plan = make_plan(write_sweep(tmp_path), ["training.tuning.language=lora", "phases.align.tuning.language=lora"])
    full = measure(make_plan(write_sweep(tmp_path / "full"))).variants
    for name, found in measure(plan).variants.items():
        assert found.trainable < full[name].trainable
        assert found.parameters > full[name].parameters


def entry(kind: str = "train", twin: str = "", flops: int = 100, seconds: float = 1.0) -> Recorded:
    return Recorded(kind, twin, flops, seconds)


def test_the_same_work_with_another_seed_decides_the_time(plan: Plan, tmp_path: Path) -> None:
    store = Store(tmp_path)
    run = plan.runs[0]
    for stage_id in (*run.features, *run.train):
        finish(store, plan.stages[stage_id], {"x": b"x"})
    spent = store.record(run.train[1])
    assert spent is not None
    other_seed = make_plan(write_sweep(tmp_path / "other"), ["seeds=[8]"])
    found = estimate(other_seed, store, [record(plan)]).stages
    stage = found[other_seed.runs[0].train[1]]
    assert (stage.basis, stage.seconds) == ("recorded", spent.total_core_seconds)
    # Another variant has no twin; the rate of its kind speaks for it.
    assert found[other_seed.runs[1].train[1]].basis == "recorded rate"


def test_among_recorded_stages_the_nearest_in_flops_count(plan: Plan) -> None:
    stage = plan.stages[plan.runs[0].train[0]]
    near = [entry(flops=100 + n, seconds=(100 + n) * 2.0) for n in range(cost.NEAREST)]
    far = [entry(flops=10**9, seconds=10**9 * 50.0) for _ in range(20)]
    found = _Clock([*far, *near]).cost(stage, 102)
    assert found == StageCost(102, 204.0, "recorded rate")


@pytest.mark.parametrize("factor", [100.0, 0.01])
def test_stages_of_another_size_say_nothing_of_the_rate(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    """Two steps of an alignment take as long as their start does."""
    monkeypatch.setattr(cost, "matrix_product_rate", lambda: 1e9)
    stage = plan.stages[plan.runs[0].train[0]]
    found = _Clock([entry(flops=10**9, seconds=60.0)]).cost(stage, int(10**9 * factor))
    assert found.basis == "measured rate"


def test_time_on_the_wall_is_told_beside_that_of_cores(plan: Plan, tmp_path: Path) -> None:
    """Eight threads spend eight core-seconds a second, and a GPU is asked for by the second."""
    store = Store(tmp_path)
    run = plan.runs[0]
    for stage_id in run.features:
        finish(store, plan.stages[stage_id], {"x": b"x"})
    path = finish_within(store, plan.stages[run.train[0]], wall=100.0, core=800.0, total=1200.0, ranks=2)
    assert path.exists()
    found = estimate(plan, store).stages[run.train[0]]
    assert (found.basis, found.seconds, found.process_seconds) == ("recorded", 1200.0, 2 * 150.0)
    near = [Recorded("train", "", 100, 800.0, wall=100.0), Recorded("train", "", 100, 800.0, wall=100.0)]
    assert _Clock(near).cost(plan.stages[run.train[0]], 200) == StageCost(200, 1600.0, "recorded rate", 200.0)


def finish_within(store: Store, stage: Stage, wall: float, core: float, total: float, ranks: int) -> Path:
    finish(store, stage, {"x": b"x"}, {"ranks": ranks})
    folder = store.path(stage)
    done = read_record(folder)
    assert done is not None
    write_record(folder, replace(done, wall_seconds=wall, core_seconds=core, total_core_seconds=total))
    return folder


def test_other_kinds_of_stages_say_nothing(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "matrix_product_rate", lambda: 1e9)
    stage = plan.stages[plan.runs[0].train[0]]
    found = _Clock([entry(kind="evaluate", seconds=1e6)]).cost(stage, 10**9)
    assert found.basis == "measured rate"
    assert found.seconds == pytest.approx(1 / cost.SHARES["train"] + cost.OVERHEAD_SECONDS["train"])


def test_several_twins_give_their_median(plan: Plan) -> None:
    stage = plan.stages[plan.runs[0].train[0]]
    twin = cost._twin(stage.to_json())
    times = [1.0, 5.0, 100.0]
    found = _Clock([entry(twin=twin, seconds=seconds) for seconds in times]).cost(stage, 7)
    assert found.seconds == statistics.median(times)


def test_twins_differ_in_seed_only(plan: Plan) -> None:
    stage = plan.stages[plan.runs[0].train[0]]
    reseeded = replace(stage, config={**stage.config, "seed": 99})
    other = plan.stages[plan.runs[1].train[0]]
    assert cost._twin(stage.to_json()) == cost._twin(reseeded.to_json())
    assert cost._twin(stage.to_json()) != cost._twin(other.to_json())


def test_diverged_stages_say_nothing_about_time(plan: Plan, tmp_path: Path) -> None:
    store = Store(tmp_path)
    run = plan.runs[0]
    finish(store, plan.stages[run.features[0]])
    finish(store, plan.stages[run.train[0]], outcome="diverged")
    assert estimate(plan, store).stages[run.train[0]].basis != "recorded"


def test_shared_work_is_counted_once_and_spread_over_processes(plan: Plan) -> None:
    costs = cost.Costs(measure(plan), {stage_id: StageCost(1, 10.0, "recorded") for stage_id in plan.stages})
    wanted = [stage_id for run in plan.runs for stage_id in run.stages]
    assert len(wanted) > len(plan.stages)
    assert costs.seconds(wanted) == 10.0 * len(plan.stages)
    assert costs.seconds(wanted, processes=2) == 5.0 * len(plan.stages)
    assert costs.seconds(wanted[:1], processes=2) == 10.0  # a stage is not divided
    assert costs.seconds([]) == 0.0


def test_the_rate_is_that_of_one_thread_and_leaves_the_threads_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy  # noqa: F401  # with its threads, as a run has imported it
    from threadpoolctl import threadpool_info

    def threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before, seen = threads(), []
    clock = cost.time.thread_time

    def watched() -> float:
        seen.append(threads())
        return clock()

    monkeypatch.setattr(cost.time, "thread_time", watched)
    assert cost.matrix_product_rate(size=32, seconds=0.001) > 1e6
    assert all(count == 1 for each in seen for count in each)
    assert threads() == before


def test_finished_stages_of_the_plan_itself_are_recorded(plan: Plan, tmp_path: Path) -> None:
    store = Store(tmp_path)
    finish_run(store, plan, plan.runs[0])
    stages = estimate(plan, store).stages
    assert {stages[stage_id].basis for stage_id in plan.runs[0].stages} == {"recorded"}
