"""The closest pair of stored embeddings, kept up to date while sets come and go.

Each row remembers its closest earlier row. A newcomer is the latest, so nobody's memory changes; when a row leaves, those that
remember it keep its closeness as an upper bound and look again only when they would come first. Products of int8 rows up to 1,024
wide are below 2**24, so float32 holds them exactly and every order of adding and removing gives the same pairs.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["Pairs"]

_LOOK_AGAIN = -1
_BLOCK = 256  # rows compared with all earlier ones at a time


class Pairs:
    """Closest earlier rows of N embeddings; pairs of two protected rows are left out."""

    def __init__(self) -> None:
        self._vectors = np.zeros((0, 0), np.float32)
        self._protected = np.zeros(0, np.bool_)
        self._product = np.zeros(0, np.float32)  # with the closest earlier row, an upper bound where it must be looked up again
        self._closest = np.zeros(0, np.int64)
        self._gone = np.zeros(0, np.bool_)

    def follow(self, embedding: npt.NDArray[np.int8], protected: npt.NDArray[np.bool_]) -> None:
        """Take up the rows of int8 [N, width] that have come since; `keep` has told of those that left. Other protected rows: all anew."""
        known = len(self._vectors)
        if known > len(embedding) or not np.array_equal(self._protected, protected[:known]):
            known = 0
        new = embedding[known:].astype(np.float32)
        self._vectors = np.concatenate([self._vectors[:known], new]) if known else new
        self._product = np.concatenate([self._product[:known], np.full(len(new), np.inf, np.float32)])
        self._closest = np.concatenate([self._closest[:known], np.full(len(new), _LOOK_AGAIN)])
        self._protected = protected.copy()
        self._gone = np.zeros(len(embedding), np.bool_)

    def keep(self, stay: npt.NDArray[np.int64]) -> None:
        """Only these rows (ascending) have stayed."""
        stay = stay[stay < len(self._vectors)]
        moved = np.full(len(self._vectors) + 1, _LOOK_AGAIN)  # the last is for rows that look again already
        moved[stay] = np.arange(len(stay))
        self._vectors, self._protected, self._product = self._vectors[stay], self._protected[stay], self._product[stay]
        self._closest = moved[self._closest[stay]]
        self._gone = self._gone[stay]

    def trial(self) -> "Pairs":
        """A copy from which rows may be taken out."""
        copy = Pairs()
        copy._vectors, copy._protected = self._vectors, self._protected
        copy._product, copy._closest, copy._gone = self._product.copy(), self._closest.copy(), self._gone.copy()
        return copy

    def take_out(self, row: int) -> None:
        """Go on as if this row were not there."""
        self._gone[row] = True
        self._product[row] = -np.inf
        self._closest[self._closest == row] = _LOOK_AGAIN

    def products(self, vector: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
        """Products of every row with int8 [width]: exact integers, -inf for rows taken out."""
        products: npt.NDArray[np.float32] = self._vectors @ vector.astype(np.float32)
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
        products = self._vectors[rows] @ self._vectors[:last].T  # [rows, earlier rows]
        no_pair = np.arange(last) >= rows[:, None]
        no_pair |= self._gone[:last] | (self._protected[rows][:, None] & self._protected[:last])
        products[no_pair] = -np.inf
        if not last:
            self._product[rows] = -np.inf
            return
        closest = products.argmax(1)
        self._product[rows] = products[np.arange(len(rows)), closest]
        self._closest[rows] = closest
