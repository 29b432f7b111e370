import pytest

from harness.data.order import document_order, shard

COUNTS = {"pairs": 10, "interleaved": 7}


def order(seed=0, phase="main", mixture=None, steps=12):
    return document_order(seed, phase, mixture or {"pairs": 0.5, "interleaved": 0.5}, COUNTS, 8, steps)


def test_same_seed_same_order_whatever_else():
    assert order() == order()


def test_seed_and_phase_change_the_order():
    assert order(seed=1) != order(seed=0)
    assert order(phase="align") != order(phase="main")


def test_a_longer_phase_begins_like_a_shorter_one():
    assert order(steps=12)[:5] == order(steps=5)


def test_every_pass_visits_every_document_once():
    flat = [ref for step in order(mixture={"pairs": 1.0, "interleaved": 0.0}, steps=10) for ref in step]
    for epoch in range(8):
        assert sorted(ref.index for ref in flat if ref.epoch == epoch) == list(range(10))
    first, second = ([ref.index for ref in flat if ref.epoch == epoch] for epoch in (0, 1))
    assert first != second


def test_a_share_of_zero_is_never_drawn_and_shares_are_kept():
    flat = [ref for step in document_order(3, "x", {"pairs": 0.8, "interleaved": 0.2}, COUNTS, 100, 20) for ref in step]
    assert 0.75 < sum(ref.source == "pairs" for ref in flat) / len(flat) < 0.85


def test_missing_source_is_an_error():
    with pytest.raises(ValueError, match="interleaved"):
        document_order(0, "x", {"pairs": 0.5, "interleaved": 0.5}, {"pairs": 5, "interleaved": 0}, 2, 2)


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_shards_share_a_batch_without_rest(world_size):
    batch = order()[0]
    parts = [shard(batch, rank, world_size) for rank in range(world_size)]
    assert sorted((ref for part in parts for ref in part), key=repr) == sorted(batch, key=repr)
