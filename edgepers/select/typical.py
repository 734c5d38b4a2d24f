"""The policy `typical`: what recurs in the owner's talk is kept, and what was said once makes room.

Low-budget active learning chooses what is dense among its neighbours (Hacohen, Dekel and Weinshall 2022, "Active
Learning on a Budget: Opposite Strategies Suit High and Low Budgets"). On a stream a new topic is dense only after a
while, so the newer half of the buffer is a window that everything enters, as in caches that tell frequent from recent
(Einziger, Friedman and Manes 2017, "TinyLFU"); of the older half the ones that the fewest kept sets are like leave.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgepers.select.likeness import Likeness, likeness_to, one_alike
from edgepers.select.policy import Kept, Newcomer, Room, Rows

__all__ = ["ENOUGH", "typical", "typical_leaving"]

ENOUGH = 4  # sets alike, itself among them; more make none more worth keeping, so that no topic takes all the room
_WINDOW = 2**62  # above every likeness


def typical(newcomer: Newcomer, kept: Kept, room: Room) -> Sequence[int] | None:
    """Let every newcomer in; of the older half those leave that the fewest are like, the newcomer counted in.

    Of those that enough are like the oldest leave first, and of the newer half the oldest, once there is no older one.
    """
    if room.needed(()) == 0:
        return []
    sums = _sums(kept) + likeness_to(newcomer.embedding[None], kept.embedding)[0]
    return room.take_lowest(np.arange(len(sums)), _keys(sums, kept))


def typical_leaving(kept: Kept, protected: npt.NDArray[np.bool_], seed: int) -> Rows:
    """Order rows likewise, protected ones last."""
    return np.lexsort((_keys(_sums(kept), kept), protected))


def _sums(kept: Kept) -> Rows:
    return (Likeness() if kept.likeness is None else kept.likeness).follow(kept.embedding)


def _keys(sums: Rows, kept: Kept) -> Rows:
    count = len(sums)
    keys = np.minimum(sums, ENOUGH * one_alike(kept.embedding.shape[1]))
    keys[count - count // 2 :] = _WINDOW + np.arange(count // 2)
    return keys
