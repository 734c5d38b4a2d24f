"""How many kept sets are like each one, kept up to date while sets come and go.

Products of stored embeddings are integers, and so are the sums of their squares: every order of adding and removing
gives the same ones.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgepers.ops.similarity.op import int8_similarity
from edgepers.state.embedding import scale

__all__ = ["ALIKE", "Likeness", "likeness_to", "one_alike"]

ALIKE = 0.25  # a cosine from which on two sets are alike: by chance 128 features hardly reach it
_BLOCK = 256  # rows compared with all others at a time

Rows = npt.NDArray[np.int64]


def one_alike(width: int) -> int:
    """What a set that says the same adds to a likeness."""
    return round(scale(width) ** 4)


def likeness_to(vectors: npt.NDArray[np.int8], embedding: npt.NDArray[np.int8]) -> Rows:
    """Squares [B, N] of the products of int8 [B, width] with int8 [N, width]; 0 where the cosine is below `ALIKE`."""
    products = int8_similarity(vectors, embedding)
    products[products < ALIKE * scale(embedding.shape[1]) ** 2] = 0
    squares: Rows = np.multiply(products, products, dtype=np.int64)
    return squares


class Likeness:
    """For each of N embeddings the sum of its squared products with all, itself among them."""

    def __init__(self) -> None:
        self._sums = np.zeros(0, np.int64)

    def follow(self, embedding: npt.NDArray[np.int8]) -> Rows:
        """Sums [N] of int8 [N, width]; rows that have come since are taken up, `drop` has been told of those that left.

        The result is not to be written to.
        """
        known, count = len(self._sums), len(embedding)
        if known > count:
            known = 0
        sums = np.concatenate([self._sums[:known], np.zeros(count - known, np.int64)])
        for start in range(known, count, _BLOCK):
            new = slice(start, min(start + _BLOCK, count))
            alike = likeness_to(embedding[new], embedding[: new.stop])
            sums[new] += alike.sum(1)
            sums[: new.start] += alike[:, : new.start].sum(0)
        self._sums = sums
        return sums

    def drop(self, rows: Sequence[int], embedding: npt.NDArray[np.int8]) -> None:
        """These rows of int8 [N, width] are about to leave, and the later ones to move up."""
        known = len(self._sums)
        gone = [row for row in rows if row < known]
        if gone:
            self._sums = np.delete(self._sums - likeness_to(embedding[gone], embedding[:known]).sum(0), gone)
