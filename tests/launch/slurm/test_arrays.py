from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.launch.slurm.arrays import After, Array, Place, arrange
from harness.store import Stage


def stage(name: str, kind: str = "train", **inputs: Stage) -> Stage:
    return Stage(kind, 1, {"name": name}, {role: each.id for role, each in inputs.items()}, slug=name)


def one_wish(stage: Stage) -> str:
    return "any"


def sizes(arrays: list[Array]) -> list[tuple[str, int]]:
    return [(next(iter(array.tasks.values())).kind, len(array.tasks)) for array in arrays]


def sweep(runs: int, tasks: int) -> list[Stage]:
    """Features that all share, a training each, and its evaluations."""
    features = stage("features", "features")
    stages = [features]
    for run in range(runs):
        align = stage(f"align{run}", features=features)
        main = stage(f"main{run}", previous=align, features=features)
        stages += [align, main]
        stages += [stage(f"{run}-{task}", "evaluate", model=main, features=features) for task in range(tasks)]
    return stages


def test_a_sweep_is_as_many_arrays_as_a_run_has_stages() -> None:
    arrays = arrange(sweep(50, 4), {}, one_wish, 1000)
    assert sizes(arrays) == [("features", 1), ("train", 50), ("train", 50), *[("evaluate", 50)] * 4]
    assert arrays[1].after == (After(0, 0),)
    assert arrays[2].after == (After(0, 0), After(1))
    assert arrays[2].tasks[7].slug == "main7"
    assert all(array.after == (After(0, 0), After(2)) for array in arrays[3:])
    assert {array.tasks[9].slug for array in arrays[3:]} == {f"9-{task}" for task in range(4)}


def test_many_that_wait_for_one_share_an_array() -> None:
    align = stage("align")
    arrays = arrange([align, *(stage(f"main{n}", previous=align) for n in range(6))], {}, one_wish, 1000)
    assert sizes(arrays) == [("train", 1), ("train", 6)]
    assert arrays[1].after == (After(0, 0),)


def test_no_array_is_larger_than_the_cluster_takes_and_numbers_stay_below() -> None:
    arrays = arrange(sweep(25, 1), {}, one_wish, 10)
    assert max(len(array.tasks) for array in arrays) == 10
    assert max(max(array.tasks) for array in arrays) == 9
    assert sum(len(array.tasks) for array in arrays) == 76


def test_what_is_in_the_queue_already_is_waited_for_there() -> None:
    mains = [stage(f"main{n}") for n in range(3)]
    evaluations = [stage(f"eval{n}", "evaluate", model=main) for n, main in enumerate(mains)]
    queued = {main.id: Place("77", number + 4) for number, main in enumerate(mains)}
    (array,) = arrange(evaluations, queued, one_wish, 1000)
    assert list(array.tasks) == [4, 5, 6]
    assert [after.words("77") for after in array.after] == ["aftercorr:77"]


def test_wishes_keep_stages_apart() -> None:
    arrays = arrange([stage("a"), stage("b"), stage("c")], {}, lambda each: each.slug == "b", 1000)
    assert [(array.wish, len(array.tasks)) for array in arrays] == [(False, 2), (True, 1)]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Stage], dict[str, Place]]:
    stages: list[Stage] = []
    for index in range(draw(st.integers(1, 14))):
        inputs = draw(st.lists(st.sampled_from(stages), max_size=3, unique=True)) if stages else []
        kind = draw(st.sampled_from(["train", "evaluate"]))
        stages.append(stage(str(index), kind, **{f"input{n}": each for n, each in enumerate(inputs)}))
    queued = {}
    for position, each in enumerate(stages):
        if draw(st.booleans()) and all(stage_id in queued for stage_id in each.inputs.values()):
            queued[each.id] = Place(str(draw(st.integers(1, 2))), position)
    return stages, queued


@settings(max_examples=300, deadline=None)
@given(graphs(), st.integers(1, 4))
def test_every_stage_waits_for_its_own_inputs_and_for_nothing_else(
    graph: tuple[list[Stage], dict[str, Place]], limit: int
) -> None:
    stages, queued = graph
    missing = [each for each in stages if each.id not in queued]
    arrays = arrange(missing, queued, one_wish, limit)
    places = dict(queued)
    for position, array in enumerate(arrays):
        assert array.tasks
        for number, each in array.tasks.items():
            assert each.id not in places, "a stage twice"
            waited = {Place(after.source, number if after.number is None else after.number) for after in array.after}
            assert waited == {places[stage_id] for stage_id in each.inputs.values() if stage_id in places}
            assert number < limit or any(number == place.number for place in queued.values())
        places.update({each.id: Place(position, number) for number, each in array.tasks.items()})
    assert places.keys() == {each.id for each in stages}
