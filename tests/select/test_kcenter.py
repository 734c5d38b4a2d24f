from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepers.select.closest_pairs import Pairs
from edgepers.select.kcenter import kcenter
from edgepers.select.policies import shrink_order
from edgepers.select.policy import Kept, Newcomer
from edgepers.state.embedding import scale
from tests.select.policies import WIDTH, kept, newcomer, room, situations


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return 1 - a.astype(np.float64) @ b.astype(np.float64) / scale(WIDTH) ** 2


def slow_leaver(stored: Kept, stay: list[int]) -> tuple[float, int] | None:
    """Distance of the closest pair that is not of two annotated sets, and who of it leaves.

    A pair of two annotated sets counts where there are no others.
    """
    shielded = stored.annotated if not stored.annotated[stay].all() else np.zeros_like(stored.annotated)
    pairs = [(i, j) for i in stay for j in stay if i < j and not (shielded[i] and shielded[j])]
    if not pairs:
        return None
    closest, earlier, later = min((distance(stored.embedding[i], stored.embedding[j]), i, j) for i, j in pairs)
    return closest, earlier if shielded[later] and not shielded[earlier] else later


def slow_kcenter(new: Newcomer, stored: Kept, must_leave: int) -> list[int] | None:
    stay, gone = list(range(len(stored.position))), []
    while len(gone) < must_leave:
        found = slow_leaver(stored, stay)
        if found is None or not min(distance(new.embedding, stored.embedding[i]) for i in stay) > found[0]:
            return None
        stay.remove(found[1])
        gone.append(found[1])
    return gone


@pytest.mark.parametrize("must_leave", [1, 3])
@pytest.mark.parametrize("size", [0, 3, 60])
def test_kcenter_evicts_the_newer_of_the_closest_pair_while_the_newcomer_is_farther(must_leave, size):
    stored = kept(12)
    new = newcomer(embedding=np.random.default_rng(9).integers(-size, size + 1, WIDTH).astype(np.int8))
    assert kcenter(new, stored, room(must_leave, stored)) == slow_kcenter(new, stored, must_leave)


@settings(max_examples=60)
@given(situation=situations(), coarse=st.sampled_from([1, 30, 59]), size=st.integers(0, 14))
def test_kcenter_decides_as_its_slow_meaning_with_ties_and_annotated_sets(situation, coarse, size):
    new, stored, must_leave = situation
    some = slice(0, size)
    stored = replace(
        stored,
        **{name: getattr(stored, name)[some] for name in ("position", "annotated")},
        embedding=stored.embedding[some] // coarse * coarse,  # coarse: many pairs are equally close
    )
    new = replace(new, embedding=new.embedding // coarse)
    assert kcenter(new, stored, room(must_leave, stored)) == slow_kcenter(new, stored, must_leave)


@settings(max_examples=60)
@given(
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 10_000), st.booleans()), max_size=60),
    coarse=st.sampled_from([1, 59]),
)
def test_kept_pairs_decide_as_new_ones_after_any_adds_removes_and_annotations(steps, coarse):
    vectors, flags, known = np.zeros((0, WIDTH), np.int8), np.zeros(0, bool), Pairs()
    for add, number, flag in steps:
        if add or not len(vectors):
            drawn = np.random.default_rng(number).integers(-60, 60, (1, WIDTH)) // coarse * coarse
            vectors, flags = np.concatenate([vectors, drawn.astype(np.int8)]), np.append(flags, False)
        elif flag:
            flags = flags.copy()
            flags[number % len(flags)] = True
        else:
            gone = [number % len(vectors), number // 7 % len(vectors)]
            vectors, flags = np.delete(vectors, gone, axis=0), np.delete(flags, gone)
            known.drop(sorted(set(gone)))
        if number % 3:  # not after every change
            anew = Pairs()
            for pairs in (known, anew):
                pairs.follow(vectors, flags)
            assert known.first() == anew.first()


@given(st.integers(0, 12), st.integers(0, 30), st.sampled_from([0, 0.3, 1]))
@settings(max_examples=40)
def test_kcenter_shrinks_by_the_closest_pair_again_and_again(n, seed, share):
    stored = kept(n, seed)
    stored.annotated[:] = np.random.default_rng(seed).random(n) < share
    stay, expected = list(range(n)), []
    while (found := slow_leaver(stored, stay)) is not None:
        stay.remove(found[1])
        expected.append(found[1])
    expected += stay
    expected = [row for row in expected if not stored.annotated[row]] + [
        row for row in expected if stored.annotated[row]
    ]
    assert shrink_order("kcenter", stored, 5).tolist() == expected
