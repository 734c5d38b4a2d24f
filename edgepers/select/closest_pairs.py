"""The closest pair of stored embeddings, kept up to date while sets come and go.

Each row remembers its closest earlier row. A newcomer is the latest, so nobody's memory changes; when a row leaves,
those that remember it keep its closeness as an upper bound and look again only when they would come first. Products are
integers, so every order of adding and removing gives the same pairs.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgepers.ops.similarity.op import int8_similarity

__all__ = ["GONE", "Pairs"]

GONE = np.iinfo(np.int32).min  # in place of a product: below every product
_UNKNOWN = np.iinfo(np.int32).max  # above every product
_LOOK_AGAIN = -1
_BLOCK = 256  # rows compared with all earlier ones at a time


class Pairs:
    """Closest earlier rows of N embeddings; pairs of two protected rows are left out."""

    def __init__(self) -> None:
        self._rows = np.zeros((0, 0), np.int8)
        self._protected = np.zeros(0, np.bool_)
        # with the closest earlier row, an upper bound where it must be looked up again
        self._product = np.zeros(0, np.int32)
        self._closest = np.zeros(0, np.int64)
        self._gone = np.zeros(0, np.bool_)

    def follow(self, embedding: npt.NDArray[np.int8], protected: npt.NDArray[np.bool_]) -> None:
        """Take up the rows of int8 [N, width] that have come since, and read products from them until the next call.

        `drop` has been told of those that left. Other protected rows: all anew.
        """
        known, count = len(self._product), len(embedding)
        if known > count or not np.array_equal(self._protected, protected[:known]):
            known = 0
        self._rows = embedding
        self._product = np.concatenate([self._product[:known], np.full(count - known, _UNKNOWN, np.int32)])
        self._closest = np.concatenate([self._closest[:known], np.full(count - known, _LOOK_AGAIN)])
        self._protected = protected.copy()
        self._gone = np.zeros(count, np.bool_)

    def drop(self, rows: Sequence[int]) -> None:
        """These rows have left, and the later ones moved up."""
        for row in sorted(rows, reverse=True):
            if row >= len(self._product):
                continue
            self._protected, self._product = np.delete(self._protected, row), np.delete(self._product, row)
            self._gone = np.delete(self._gone, row)
            closest = np.delete(self._closest, row)
            self._closest = np.where(closest == row, _LOOK_AGAIN, closest - (closest > row))

    def trial(self) -> "Pairs":
        """A copy from which rows may be taken out."""
        copy = Pairs()
        copy._rows, copy._protected = self._rows, self._protected
        copy._product, copy._closest, copy._gone = self._product.copy(), self._closest.copy(), self._gone.copy()
        return copy

    def take_out(self, row: int) -> None:
        """Go on as if this row were not there."""
        self._gone[row] = True
        self._product[row] = GONE
        self._closest[self._closest == row] = _LOOK_AGAIN

    def products(self, vector: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
        """Products of every row with int8 [width]; GONE for rows taken out."""
        products: npt.NDArray[np.int32] = int8_similarity(vector[None], self._rows)[0]
        products[self._gone] = GONE
        return products

    def first(self) -> tuple[int, int, int] | None:
        """Return the closest pair: earlier row, later row, product; None where there is no pair.

        Of equals it is the one with the first earlier row, then the first later row.
        """
        while len(self._product):
            top = self._product.max()
            if top == GONE:
                return None
            rows = np.flatnonzero(self._product == top)
            again = rows[self._closest[rows] == _LOOK_AGAIN]
            if not len(again):
                earlier = self._closest[rows]
                first = int(earlier.min())
                return first, int(rows[earlier == first][0]), int(top)
            for start in range(0, len(again), _BLOCK):
                self._look(again[start : start + _BLOCK])
        return None

    def _look(self, rows: npt.NDArray[np.int64]) -> None:
        last = int(rows[-1])
        if not last:
            self._product[rows] = GONE
            return
        products = int8_similarity(self._rows[rows], self._rows[:last])  # [rows, earlier rows]
        first = int(rows[0])
        products[:, first:][np.arange(first, last) >= rows[:, None]] = GONE  # not earlier
        products[:, np.flatnonzero(self._gone[:last])] = GONE
        protected = np.flatnonzero(self._protected[:last])
        products[np.ix_(self._protected[rows], protected)] = GONE
        closest = products.argmax(1)
        self._product[rows] = products[np.arange(len(rows)), closest]
        self._closest[rows] = closest
