from collections import Counter

import pytest

from edgepers.train.batching import batches


@pytest.mark.parametrize(("examples", "size"), [(1, 16), (7, 3), (16, 16), (100, 16)])
def test_each_pass_visits_every_example_once(examples, size):
    steps = list(batches(examples, size, 50, seed=3))
    assert all(len(step) == min(size, examples) for step in steps)
    drawn = [i for step in steps for i in step]
    for start in range(0, len(drawn) - examples + 1, examples):
        assert sorted(drawn[start : start + examples]) == list(range(examples))
    assert max(Counter(drawn).values()) - min(Counter(drawn).values()) <= 1


def test_the_order_is_a_pure_function_of_the_seed():
    assert list(batches(50, 8, 20, 1)) == list(batches(50, 8, 20, 1))
    assert list(batches(50, 8, 20, 1)) != list(batches(50, 8, 20, 2))
