import itertools

import pytest

from harness.train.schedule import learning_rate_factor


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_warms_up_then_falls_to_the_final_ratio(kind):
    factors = [learning_rate_factor(step, 100, kind, 10, 0.1) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == pytest.approx(1.0)
    assert factors[-1] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(factors[10:]))


def test_constant_stays():
    assert {learning_rate_factor(step, 50, "constant", 5, 0.0) for step in range(5, 50)} == {1.0}


def test_cosine_is_halfway_in_the_middle():
    assert learning_rate_factor(50, 101, "cosine", 0, 0.0) == pytest.approx(0.5)


def test_unknown_kind():
    with pytest.raises(ValueError, match="step"):
        learning_rate_factor(5, 10, "step", 0, 0.1)
