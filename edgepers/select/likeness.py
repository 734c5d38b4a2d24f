"""How many kept sets are like each one, kept up to date while sets come and go.

Products of stored embeddings are integers, and so are the sums of their squares: every order of adding and removing
gives the same ones.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgepers.ops.similarity.op import int8_similarity
from edgepers.state.embedding import scale

__all__ = ["ALIKE", "Likeness", "one_alike", "squares_of"]

ALIKE = 0.25  # a cosine from which on two sets are alike: by chance 128 features hardly reach it
_BLOCK = 256  # rows compared with all others at a time

Rows = npt.NDArray[np.int64]


def one_alike(width: int) -> int:
    """What a set that says the same adds to a likeness."""
    return round(scale(width) ** 4)


def squares_of(products: npt.NDArray[np.int32], width: int) -> Rows:
    """Squares [...] of the products [...] of stored embeddings; 0 where the cosine is below `ALIKE`."""
    products = np.where(products < ALIKE * scale(width) ** 2, 0, products)
    squares: Rows = np.multiply(products, products, dtype=np.int64)
    return squares


class Likeness:
    """For each of N embeddings the sum of its squared products with all, itself among them."""

    def __init__(self) -> None:
        self._sums = np.zeros(0, np.int64)

    def follow(self, embedding: npt.NDArray[np.int8]) -> Rows:
        """Sums [N] of int8 [N, width]; rows that have come unsaid are taken up, `drop` was told of those that left.

        The result is not to be written to.
        """
        known, count = len(self._sums), len(embedding)
        if known > count:
            known = 0
        if known < count:
            sums = np.concatenate([self._sums[:known], np.zeros(count - known, np.int64)])
            for start in range(known, count, _BLOCK):
                new = slice(start, min(start + _BLOCK, count))
                alike = squares_of(int8_similarity(embedding[new], embedding[: new.stop]), embedding.shape[1])
                sums[new] += alike.sum(1)
                sums[: new.start] += alike[:, : new.start].sum(0)
            self._sums = sums
        return self._sums

    def come(self, products: npt.NDArray[np.int32], width: int) -> None:
        """One more row has come; its products [N + 1] with all rows, itself the last, where all others are known."""
        if len(products) == len(self._sums) + 1:
            squares = squares_of(products, width)
            self._sums = np.append(self._sums, 0) + squares
            self._sums[-1] = squares.sum()

    def drop(self, rows: Sequence[int], products: npt.NDArray[np.int32], width: int) -> None:
        """Rows are about to leave, whose products [len(rows), N] are with all rows, and the later ones to move up."""
        known = len(self._sums)
        gone = [i for i, row in enumerate(rows) if row < known]
        if gone:
            left = self._sums - squares_of(products[gone, :known], width).sum(0)
            self._sums = np.delete(left, [rows[i] for i in gone])
