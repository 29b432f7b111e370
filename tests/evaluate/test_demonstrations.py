from __future__ import annotations

import random
from dataclasses import replace

import pytest

from harness.errors import HarnessError
from harness.evaluate.demonstrations import Demonstrator, refuse_leaks
from harness.evaluate.evaluation import Evaluation
from harness.evaluate.tasks import Pool, Sample, get_task

from .tiny import TinyDataset, protocol


def key(image: str) -> str:
    return image


def pool(dataset: TinyDataset | None = None) -> Pool:
    return get_task("vqav2").read(dataset or TinyDataset(), "support")  # type: ignore[arg-type]


def demonstrator(support: Pool | None = None, shots: int = 4, sets: int = 8, seed: int = 0) -> Demonstrator:
    return Demonstrator(support or pool(), shots, sets, seed, key)


def test_known_values() -> None:
    # Fixed for good: another choice would make all published scores incomparable with new ones.
    chosen = demonstrator()
    assert [chosen.of(id).number for id in ("20000", "20010", "20020")] == KNOWN_SETS
    assert chosen.all_sets[0].ids == KNOWN_IDS


KNOWN_SETS = [7, 4, 3]
KNOWN_IDS = ("40", "100", "90", "80")


def test_depend_on_nothing_but_the_sample() -> None:
    queries = [str(20000 + 10 * number) for number in range(20)]
    once = {id: demonstrator().of(id) for id in queries}
    assert len({group.number for group in once.values()}) > 3
    random.seed(1)
    for world_size in (1, 2, 4):  # as if each rank had its share, in another order, under a limit
        for rank in range(world_size):
            share = queries[rank::world_size]
            random.shuffle(share)
            chosen = demonstrator(pool(TinyDataset(reverse=True)))
            assert all(chosen.of(id) == once[id] for id in share[:3])


def test_depend_on_seed_pool_and_task() -> None:
    def sets(chosen: Demonstrator) -> list[tuple[str, ...]]:
        return [group.ids for group in chosen.all_sets]

    basic = sets(demonstrator())
    assert sets(demonstrator(seed=1)) != basic
    support = pool()
    changed = replace(support.samples[0], question="Something else?")
    assert sets(demonstrator(Pool("vqav2", "support", (changed, *support.samples[1:])))) != basic
    assert sets(demonstrator(Pool("okvqa", "support", support.samples))) != basic
    ids = [str(number) for number in range(40)]
    assert [demonstrator(seed=1).of(id).number for id in ids] != [demonstrator().of(id).number for id in ids]


def test_fewer_shots_are_the_beginning_and_sets_stay_when_sets_are_added() -> None:
    four = demonstrator(shots=4, sets=4).all_sets
    assert [group.ids[:2] for group in four] == [group.ids for group in demonstrator(shots=2, sets=4).all_sets]
    assert demonstrator(sets=8).all_sets[:4] == four


def test_sets_differ_and_show_different_images() -> None:
    chosen = demonstrator()
    assert len({group.ids for group in chosen.all_sets}) == 8
    assert all(len({sample.image for sample in group.samples}) == 4 for group in chosen.all_sets)


def test_an_image_with_many_questions_is_shown_once() -> None:
    samples = [Sample(f"{image}-{n}", f"{image}", f"{image}.png", "?", ("a",)) for image in range(4) for n in range(9)]
    support = Pool("vqav2", "support", tuple(samples))
    for group in demonstrator(support).all_sets:
        assert sorted(sample.image_id for sample in group.samples) == ["0", "1", "2", "3"]
    with pytest.raises(HarnessError, match="only 4 different images, 5 shots"):
        _ = demonstrator(support, shots=5).all_sets


def test_copies_of_a_picture_are_shown_once() -> None:
    samples = tuple(Sample(f"{n}", f"{n}", f"{n}.png", "?", ("a",)) for n in range(8))
    chosen = Demonstrator(Pool("vqav2", "support", samples), 4, 20, 0, lambda image: str(int(image.split(".")[0]) // 2))
    for group in chosen.all_sets:
        assert len({int(sample.id) // 2 for sample in group.samples}) == 4


def test_no_shots() -> None:
    assert demonstrator(shots=0).of("1").samples == ()


@pytest.mark.parametrize(
    ("change", "how"),
    [
        ({"image_id": "3"}, "image id"),
        ({"image": "support/3.png"}, "file"),
    ],
)
def test_a_query_whose_image_is_in_the_support_pool_is_refused(change: dict[str, str], how: str) -> None:
    chosen = demonstrator()
    query = replace(Sample("q", "77", "test/77.png", "?", ("a",)), **change)  # type: ignore[arg-type]
    refuse_leaks([replace(query, image_id="77", image="test/77.png")], chosen, key)
    with pytest.raises(HarnessError, match=f"query q and support sample 30 show the same image .by {how}"):
        refuse_leaks([query], chosen, key)


def test_a_copied_picture_is_refused() -> None:
    # Only the content tells: another id, another file.
    clean = Evaluation.prepare(protocol(), TinyDataset())  # type: ignore[arg-type]
    shown, asked = clean.demonstrator.all_sets[0].samples[0].image, clean.queries[3].image
    with pytest.raises(HarnessError, match="by content"):
        Evaluation.prepare(protocol(), TinyDataset(same_pictures={asked: shown}))  # type: ignore[arg-type]


def test_unknown_strategy() -> None:
    with pytest.raises(HarnessError, match="fixed_sets"):
        Demonstrator(pool(), 4, 8, 0, key, strategy="rices")  # type: ignore[arg-type]
