"""The policy `typical`: what recurs in the owner's talk is kept, and what was said once makes room.

Low-budget active learning chooses what is dense among its neighbours (Hacohen, Dekel and Weinshall 2022, "Active
Learning on a Budget: Opposite Strategies Suit High and Low Budgets"). On a stream a new topic is dense only after a
while, so the newest quarter of the buffer is a window that everything enters, as in caches that tell frequent from
recent (Einziger, Friedman and Manes 2017, "TinyLFU"). Of the others those leave first that the fewest kept sets are
like for their bytes, as in a greedy knapsack (Dantzig 1957).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgepers.select.likeness import Likeness, one_alike, squares_of
from edgepers.select.policy import Kept, Newcomer, Room, Rows

__all__ = ["ENOUGH", "WINDOW_SHARE", "typical", "typical_leaving"]

ENOUGH = 2  # sets alike, itself among them; more make none more worth keeping, so that no topic takes all the room
WINDOW_SHARE = 4  # one in so many of the rows that may leave is in the window
_IN_WINDOW = 2.0 * ENOUGH  # above every value

Protected = npt.NDArray[np.bool_]


def typical(newcomer: Newcomer, kept: Kept, room: Room) -> Sequence[int] | None:
    """Let every newcomer in; those leave that the fewest sets are like for their bytes, the newcomer counted in.

    Of equals the oldest leaves first; sets of the window leave after all others, the oldest first.
    """
    if room.needed(()) == 0:
        return []
    squares = squares_of(kept.products(newcomer.embedding), kept.embedding.shape[1])
    sums = _likeness(kept).follow(kept.embedding) + squares
    return room.take_lowest(np.arange(len(sums)), _values(sums, kept, room.protected))


def typical_leaving(kept: Kept, protected: Protected, seed: int) -> Rows:
    """Order rows likewise, protected ones last."""
    return np.lexsort((_values(_likeness(kept).follow(kept.embedding), kept, protected), protected))


def _likeness(kept: Kept) -> Likeness:
    return Likeness() if kept.likeness is None else kept.likeness


def _values(sums: Rows, kept: Kept, protected: Protected) -> npt.NDArray[np.float64]:
    alike = np.minimum(sums / one_alike(kept.embedding.shape[1]) + kept.repeats, ENOUGH)
    values: npt.NDArray[np.float64] = alike / np.maximum(kept.stored_bytes, 1)
    free = np.flatnonzero(~protected)
    window = free[len(free) - len(free) // WINDOW_SHARE :]
    values[window] = _IN_WINDOW + np.arange(len(window))
    return values
