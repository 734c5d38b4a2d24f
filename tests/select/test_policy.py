import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepers.hashing import mix, mix_array
from tests.select.policies import kept, room


def test_hashes_of_arrays_equal_hashes_of_numbers():
    positions = np.array([0, 1, 17, 2**40], np.int64)
    assert mix_array((3, 4), positions).tolist() == [mix(3, 4, int(p)) for p in positions]


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=200), st.integers(0, 9), st.integers(0, 90))
def test_the_lowest_keys_leave_first_but_protected_rows_last(keys_and_protected, least_row, must_leave):
    n = len(keys_and_protected)
    keys = np.array([key for key, _ in keys_and_protected], np.int64)
    stored = kept(n, annotated=tuple(i for i, (_, protected) in enumerate(keys_and_protected) if protected))
    rows = np.arange(min(least_row, n), n)
    expected = sorted(rows, key=lambda row: (stored.annotated[row], keys[row], row))
    if not all(stored.annotated[: rows[0] if len(rows) else n]):  # an unprotected row that may not leave
        expected = [row for row in expected if not stored.annotated[row]]
    taken = room(must_leave, stored).take_lowest(rows, keys[rows])
    assert taken == (expected[:must_leave] if len(expected) >= must_leave else None)


@pytest.mark.parametrize("must_leave", [1, 70, 190])
def test_few_rows_are_put_in_order_unless_more_must_leave(must_leave):
    stored = kept(200)
    asked = []

    def needed(rows):
        asked.append(len(rows))
        return must_leave if len(rows) >= must_leave else None

    free = room(must_leave, stored)
    lazy = type(free)(seed=free.seed, refused_before=True, needed=needed, protected=free.protected)
    rows = np.arange(200)
    assert lazy.take_lowest(rows, stored.position) == list(range(must_leave))
    assert asked == ([65] if must_leave == 1 else [65, 200])
