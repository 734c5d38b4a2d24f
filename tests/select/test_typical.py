import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepers.ops.similarity.op import int8_similarity
from edgepers.select.likeness import Likeness, one_alike
from edgepers.select.policies import shrink_order
from edgepers.select.policy import Kept, Newcomer
from edgepers.select.typical import ENOUGH, typical
from edgepers.state.embedding import scale
from tests.select.policies import WIDTH, kept, newcomer, room, situations


def alike(a: np.ndarray, b: np.ndarray) -> int:
    """The square of a product, where its cosine is at least a quarter; of Python's integers."""
    product = sum(int(x) * int(y) for x, y in zip(a, b, strict=True))
    return product**2 if product >= scale(len(a)) ** 2 / 4 else 0


def slow_order(stored: Kept, new: np.ndarray | None = None) -> list[int]:
    """By how many are like each, as far as it counts, a byte; then the newest quarter of those that may leave."""
    one = one_alike(WIDTH)
    vectors = [*stored.embedding, *([] if new is None else [new])]
    value = [
        min(sum(alike(a, b) for b in vectors) / one + int(again), ENOUGH) / int(size)
        for a, again, size in zip(stored.embedding, stored.repeats, stored.stored_bytes, strict=True)
    ]
    free = [i for i in range(len(value)) if not stored.annotated[i]]
    window = free[len(free) - len(free) // 4 :]
    others = [i for i in free if i not in window]
    judged = [i for i in range(len(value)) if stored.annotated[i]]
    return [*sorted(others, key=value.__getitem__), *window, *sorted(judged, key=value.__getitem__)]


def slow_typical(new: Newcomer, stored: Kept, must_leave: int) -> list[int] | None:
    order = slow_order(stored, new.embedding)
    return order[:must_leave] if len(order) >= must_leave else None


@settings(max_examples=60)
@given(situation=situations())
def test_typical_evicts_what_the_fewest_of_the_older_half_are_like(situation):
    new, stored, must_leave = situation
    found = typical(new, stored, room(must_leave, stored))
    assert found == ([] if must_leave == 0 else slow_typical(new, stored, must_leave))


def alone(count: int, size: int = 400) -> Kept:
    """A buffer of sets that nothing is like, of one size."""
    stored = kept(count)
    stored.embedding[:] = 127 * np.eye(count, WIDTH)
    stored.stored_bytes[:] = size
    stored.repeats[:] = 0
    return stored


def test_typical_keeps_what_recurs_where_everything_else_was_said_once():
    stored = alone(20)
    stored.embedding[[4, 7]] = stored.embedding[1]
    assert typical(newcomer(), stored, room(3, stored)) == [0, 2, 3]
    assert typical(newcomer(), stored, room(15, stored))[-3:] == [1, 4, 7]  # and none of the window, 15 to 19


def test_a_newcomer_that_says_the_same_makes_a_set_stay():
    stored = alone(8)
    again = newcomer(embedding=stored.embedding[0])
    assert typical(again, stored, room(1, stored)) == [1] and typical(newcomer(), stored, room(1, stored)) == [0]


def test_what_was_asked_again_in_the_same_words_stays():
    stored = alone(8)
    stored.repeats[0] = 1
    assert typical(newcomer(), stored, room(1, stored)) == [1]


def test_of_sets_that_as_many_are_like_the_larger_leaves():
    stored = alone(8)
    stored.stored_bytes[3] = 401
    assert typical(newcomer(), stored, room(2, stored)) == [3, 0]


def test_typical_shrinks_in_the_order_in_which_it_evicts():
    stored = kept(31, annotated=(2, 20))
    assert shrink_order("typical", stored, 0).tolist() == slow_order(stored)


@given(events=st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=60), asked=st.sampled_from([1, 3, 7]))
def test_likeness_that_is_kept_up_is_that_of_the_rows_that_are_there(events, asked):
    rng = np.random.default_rng(0)
    likeness, rows = Likeness(), np.zeros((0, 8), np.int8)
    for number, (comes, which) in enumerate(events):
        if comes or not len(rows):
            rows = np.concatenate([rows, rng.integers(-99, 99, (1 + which % 3, 8)).astype(np.int8)])
            if which % 3 == 0:
                likeness.come(int8_similarity(rows[-1:], rows)[0], 8)
        else:
            gone = sorted({which % len(rows), which * 7 % len(rows)})
            likeness.drop(gone, int8_similarity(rows[gone], rows), 8)
            rows = np.delete(rows, gone, axis=0)
        if number % asked == 0:
            assert likeness.follow(rows).tolist() == [sum(alike(a, b) for b in rows) for a in rows]


def test_likeness_of_more_rows_than_one_block():
    rows = np.random.default_rng(1).integers(-50, 50, (600, 4)).astype(np.int8)
    assert Likeness().follow(rows)[[0, 300, 599]].tolist() == [
        sum(alike(rows[i], b) for b in rows) for i in (0, 300, 599)
    ]


@pytest.mark.parametrize("width", [64, 128, 512])
def test_one_that_says_the_same_adds_one(width):
    from edgepers.state.embedding import quantize

    vector = np.random.default_rng(2).standard_normal(width).astype(np.float32)
    stored = quantize(vector[None] / np.linalg.norm(vector))
    assert Likeness().follow(stored)[0] == pytest.approx(one_alike(width), rel=0.03)
