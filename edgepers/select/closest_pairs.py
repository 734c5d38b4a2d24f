"""The closest pair of stored embeddings, kept up to date while sets come and go.

Each row remembers its closest earlier row. A newcomer is the latest, so nobody's memory changes; when a row leaves,
those that remember it keep its closeness as an upper bound and look again only when they would come first. Products of
int8 rows up to 1,024 wide are below 2**24, so float32 holds them exactly and every order of adding and removing gives
the same pairs.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Pairs"]

_LOOK_AGAIN = -1
_BLOCK = 256  # rows compared with all earlier ones at a time


class Pairs:
    """Closest earlier rows of N embeddings; pairs of two protected rows are left out."""

    def __init__(self) -> None:
        self._store = np.zeros((0, 0), np.float32)  # grows by doubling; the rows are its first
        self._protected = np.zeros(0, np.bool_)
        self._product = np.zeros(
            0, np.float32
        )  # with the closest earlier row, an upper bound where it must be looked up again
        self._closest = np.zeros(0, np.int64)
        self._gone = np.zeros(0, np.bool_)

    def follow(self, embedding: npt.NDArray[np.int8], protected: npt.NDArray[np.bool_]) -> None:
        """Take up the rows of int8 [N, width] that have come since; `drop` has told of those that left. Other protected rows: all anew."""
        known, count = len(self._product), len(embedding)
        if known > count or not np.array_equal(self._protected, protected[:known]):
            known = 0
        if len(self._store) < count or not known:
            store = np.zeros((max(count, 2 * known), embedding.shape[1]), np.float32)
            if known:
                store[:known] = self._store[:known]
            self._store = store
        self._store[known:count] = embedding[known:]
        self._product = np.concatenate([self._product[:known], np.full(count - known, np.inf, np.float32)])
        self._closest = np.concatenate([self._closest[:known], np.full(count - known, _LOOK_AGAIN)])
        self._protected = protected.copy()
        self._gone = np.zeros(count, np.bool_)

    def drop(self, rows: Sequence[int]) -> None:
        """These rows have left, and the later ones moved up."""
        for row in sorted(rows, reverse=True):
            last = len(self._product) - 1
            if row > last:
                continue
            width, flat = self._store.shape[1], self._store.reshape(self._store.size)
            flat[row * width : last * width] = flat[(row + 1) * width : (last + 1) * width]
            self._protected, self._product = np.delete(self._protected, row), np.delete(self._product, row)
            self._gone = np.delete(self._gone, row)
            closest = np.delete(self._closest, row)
            self._closest = np.where(closest == row, _LOOK_AGAIN, closest - (closest > row))

    def trial(self) -> "Pairs":
        """A copy from which rows may be taken out."""
        copy = Pairs()
        copy._store, copy._protected = self._store, self._protected
        copy._product, copy._closest, copy._gone = self._product.copy(), self._closest.copy(), self._gone.copy()
        return copy

    def take_out(self, row: int) -> None:
        """Go on as if this row were not there."""
        self._gone[row] = True
        self._product[row] = -np.inf
        self._closest[self._closest == row] = _LOOK_AGAIN

    def products(self, vector: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
        """Products of every row with int8 [width]: exact integers, -inf for rows taken out."""
        products: npt.NDArray[np.float32] = self._store[: len(self._product)] @ vector.astype(np.float32)
        products[self._gone] = -np.inf
        return products

    def first(self) -> tuple[int, int, float] | None:
        """The closest pair: earlier row, later row, product; of equals the one with the first earlier, then later row. None: no pair."""
        while len(self._product):
            top = self._product.max()
            if top == -np.inf:
                return None
            rows = np.flatnonzero(self._product == top)
            again = rows[self._closest[rows] == _LOOK_AGAIN]
            if not len(again):
                earlier = self._closest[rows]
                first = int(earlier.min())
                return first, int(rows[earlier == first][0]), float(top)
            for start in range(0, len(again), _BLOCK):
                self._look(again[start : start + _BLOCK])
        return None

    def _look(self, rows: npt.NDArray[np.int64]) -> None:
        last = int(rows[-1])
        products = self._store[rows] @ self._store[:last].T  # [rows, earlier rows]
        no_pair = np.arange(last) >= rows[:, None]
        no_pair |= self._gone[:last] | (self._protected[rows][:, None] & self._protected[:last])
        products[no_pair] = -np.inf
        if not last:
            self._product[rows] = -np.inf
            return
        closest = products.argmax(1)
        self._product[rows] = products[np.arange(len(rows)), closest]
        self._closest[rows] = closest
