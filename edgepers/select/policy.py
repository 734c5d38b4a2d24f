"""What a policy is: a rule for who enters the buffer, and who leaves.

A policy is a callable `(newcomer, kept, room) -> rows of kept to evict, or None to drop the newcomer`. Every random
choice is a hash of (seed, position), so a resumed stream decides as an uninterrupted one. It may carry two attributes:
`needs`, a tuple of what the selector has to find out beside the three scores (so far "loss"), and `leaving`, a callable
`(kept, protected, seed) -> rows`, the order in which sets leave when the budget is made smaller and no newcomer is at
hand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgepers.ops.similarity.op import int8_similarity
from edgepers.select.closest_pairs import Pairs
from edgepers.select.likeness import Likeness
from edgepers.state.embedding import Int8

__all__ = ["GRID", "UNKNOWN", "Kept", "Newcomer", "Policy", "Room", "Rows"]

GRID = 4096  # scores are compared in steps of 1/4096; a tie is not lower
UNKNOWN = -1  # in place of a loss that nobody has measured: below every loss
_FEW = 64  # rows that are put in order at first; one newcomer hardly ever needs more to leave

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Newcomer:
    """The set to decide on; scores and loss in steps of 1/GRID."""

    position: int
    entropy: int
    domain_score: int
    dissimilarity: int
    domain: str
    embedding: Int8
    characters: int = 0  # of question and response
    stored_bytes: int = 0  # of its row in the buffer
    loss: int = UNKNOWN  # of its response under the base model, per token, where the policy needs it


@dataclass(frozen=True, slots=True)
class Kept:
    """The buffer as arrays, one row a kept set, in order of arrival.

    Scores are in steps of 1/GRID, and IDD is against the present buffer.
    """

    position: Rows
    entropy: Rows
    domain_score: Rows
    dissimilarity: Rows
    annotated: npt.NDArray[np.bool_]
    embedding: Int8  # [N, width]
    characters: Rows
    stored_bytes: Rows
    loss: Rows
    repeats: Rows  # times that its question was asked again in the same words
    # what is known of `embedding`: saves time, changes nothing
    pairs: Pairs | None = None
    likeness: Likeness | None = None
    known_products: Callable[[Int8], npt.NDArray[np.int32]] | None = None

    def products(self, vector: Int8) -> npt.NDArray[np.int32]:
        """Products int32 [N] of int8 [width], such as a newcomer's embedding, with all rows."""
        if self.known_products is not None:
            return self.known_products(vector)
        products: npt.NDArray[np.int32] = int8_similarity(vector[None], self.embedding)[0]
        return products


@dataclass(frozen=True, slots=True)
class Room:
    """What a policy may know of space."""

    seed: int
    refused_before: bool  # some newcomer has already found no room
    needed: Callable[
        [Sequence[int] | Rows], int | None
    ]  # how many first rows of an order must leave; None: all are not enough
    protected: npt.NDArray[np.bool_]  # rows that leave only when no other can

    def take(self, order: Rows) -> list[int] | None:
        """Return the fewest first rows of `order` whose leaving makes room; None where all are not enough.

        Unprotected ones leave first, and protected ones only where every unprotected row of the buffer is in the order:
        what the owner has judged never leaves for a newcomer while something else is kept.
        """
        shielded = self.protected[order]
        free = order[~shielded]
        others = len(free) < np.count_nonzero(~self.protected)
        order = free if others else np.concatenate([free, order[shielded]])
        count = self.needed(order)
        return None if count is None else [int(row) for row in order[:count]]

    def take_lowest(self, rows: Rows, keys: npt.NDArray[np.generic]) -> list[int] | None:
        """`take` of rows, int64 [n] ascending, in ascending order of their keys [n]; the first of equal rows first."""
        free = np.flatnonzero(~self.protected[rows])
        if len(free) > _FEW:
            limit = np.partition(keys[free], _FEW)[_FEW]
            first = free[keys[free] <= limit]
            taken = self.take(rows[first[np.argsort(keys[first], kind="stable")]])
            if taken is not None:
                return taken
        return self.take(rows[np.argsort(keys, kind="stable")])


Policy = Callable[[Newcomer, Kept, Room], Sequence[int] | None]
