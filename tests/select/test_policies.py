from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepers.config import POLICIES
from edgepers.errors import UsageError
from edgepers.hashing import mix
from edgepers.select.policies import named_policies, shrink_order
from edgepers.select.rules import HALF_LIFE_PER_KEPT, aging_leaving
from tests.select.policies import kept, newcomer, room, situations, without


def test_the_command_line_knows_the_named_policies():
    assert tuple(named_policies()) == POLICIES


@pytest.mark.parametrize("name", [*named_policies(), None])
@settings(max_examples=40)
@given(situation=situations(), seed=st.integers(0, 9))
def test_every_set_leaves_once_and_annotated_ones_last(name, situation, seed):
    _, stored, _ = situation
    order = shrink_order(name or (lambda new, kept, room: None), stored, seed)
    assert sorted(order) == list(range(len(stored.position)))
    assert stored.annotated[order].tolist() == sorted(stored.annotated)


@pytest.mark.parametrize("name", ["quality", "random", "fifo", "longest", "loss"])
@settings(max_examples=40)
@given(situation=situations(), seed=st.integers(0, 9))
def test_no_set_leaves_before_one_that_it_would_have_evicted(name, situation, seed):
    """The order agrees with the policy: were one of two kept sets the newcomer, the other would have left, not it."""
    _, stored, _ = situation
    order = shrink_order(name, stored, seed, protected=np.zeros(len(stored.position), bool)).tolist()
    for first, then in pairwise(order):
        alone = without(stored, [row for row in order if row != then])
        as_newcomer = newcomer(
            position=int(stored.position[first]),
            **{
                f: int(getattr(stored, f)[first])
                for f in ("entropy", "domain_score", "dissimilarity", "characters", "stored_bytes", "loss")
            },
        )
        free = replace(alone, annotated=np.zeros(1, bool))
        assert name == "fifo" or named_policies()[name](as_newcomer, free, room(1, free, seed)) is None


def test_orders_are_what_their_policies_say():
    stored = kept(30)
    hashes = [mix(7, int(p)) for p in stored.position]
    expected = {
        "random": sorted(range(30), key=lambda i: -hashes[i]),
        "fifo": sorted(range(30), key=lambda i: stored.position[i]),
        "longest": sorted(range(30), key=lambda i: (stored.characters[i], i)),
        "loss": sorted(range(30), key=lambda i: (stored.loss[i], i)),
    }
    for name, order in expected.items():
        assert shrink_order(name, stored, 7).tolist() == order


@given(st.integers(0, 40), st.integers(1, 10_000))
def test_scores_that_fade_alike_leave_in_the_same_order_whenever_it_is_asked_for(n, later):
    stored = kept(n)
    same = replace(stored, position=stored.position + later)
    none = np.zeros(n, bool)
    assert aging_leaving(stored, none, 0).tolist() == aging_leaving(same, none, 0).tolist()


def test_an_old_set_fades_below_a_new_one_that_it_beats():
    two = replace(kept(2), **{name: np.array([4000, 3000]) for name in ("entropy", "domain_score", "dissimilarity")})
    assert shrink_order("quality", two, 0).tolist() == [1, 0]
    assert shrink_order("aging", replace(two, position=np.array([0, 2 * HALF_LIFE_PER_KEPT])), 0).tolist() == [0, 1]


def test_a_policy_of_ones_own_may_say_its_order_and_otherwise_the_oldest_leave():
    def newest_leaves(new, stored, room):
        return None

    stored = kept(5)
    assert shrink_order(newest_leaves, stored, 0).tolist() == [0, 1, 2, 3, 4]
    newest_leaves.leaving = lambda stored, protected, seed: np.argsort(-stored.position)
    assert shrink_order(newest_leaves, stored, 0).tolist() == [4, 3, 2, 1, 0]
    assert shrink_order(newest_leaves, kept(5, annotated=(4, 2)), 0).tolist() == [3, 1, 0, 4, 2]
    with pytest.raises(UsageError, match="policy 'best' is unknown; choose quality, aging"):
        shrink_order("best", stored, 0)
