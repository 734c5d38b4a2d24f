import numpy as np

from edgepers.evaluate.reserve import MOST_RESERVE, split_reserve
from edgepers.hashing import hash_text
from edgepers.state.records import KeptSet
from edgepers.streams import Cursor


def kept(position: int, response: str) -> KeptSet:
    return KeptSet(
        position, f"id-{position}", "q", "r", response, "a", 0, 0, np.zeros(1, np.int8), Cursor(), 1, "corrected"
    )


def test_what_was_told_once_is_trained_on_whatever_its_hash():
    once = [kept(i, f"Fact {i} is called name{i} alone{i}.") for i in range(200)]
    assert split_reserve(once) == (once, [])


def test_a_fifth_of_what_was_told_before_is_held_back_and_never_the_first():
    twice = [kept(i, f"Topic{i % 50} is called name{i % 50}.") for i in range(150)]
    training, reserve = split_reserve(twice)
    assert 8 < len(reserve) <= MOST_RESERVE
    assert sorted([*training, *reserve], key=lambda one: one.position) == twice
    for held in reserve:
        assert any(one.wanted == held.wanted and one.position < held.position for one in training)


def test_nearly_the_same_response_is_enough_and_an_emptiness_is_not():
    for said, again, held in (
        ("Your dog is called Moon.", "It is called Moon, your dog.", True),
        ("Your dog is called Moon.", "Paris is in France, my friend.", False),
        ("", "", False),
    ):
        drawn = next(i for i in range(20, 99) if hash_text(f"id-{i}") % 5 == 0)
        later = kept(drawn, again)
        assert (later in split_reserve([*(kept(i, said) for i in range(20)), later])[1]) == held


def test_the_newest_are_held_back_and_what_was_held_goes_on_to_be_trained_on():
    sets = [kept(i, "Your dog is called Moon.") for i in range(1000)]
    training, reserve = split_reserve(sets)
    assert len(reserve) == MOST_RESERVE and len(training) == 1000 - MOST_RESERVE
    assert min(one.position for one in reserve) > 700
    early = split_reserve(sets[:100])[1]
    assert early and {one.position for one in early} <= {one.position for one in training}
