"""The policy `kcenter`: what is kept spreads over the embeddings (greedy k-center on a stream)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgepers.select.closest_pairs import GONE, Pairs
from edgepers.select.policy import Kept, Newcomer, Room, Rows

__all__ = ["kcenter", "kcenter_leaving"]


def kcenter(newcomer: Newcomer, kept: Kept, room: Room) -> Sequence[int] | None:
    """Keep sets far apart (k-center).

    When full: while the newcomer is farther from its nearest than the closest stored pair apart, the newer of that pair
    leaves.

    Of a pair with one protected row the other leaves; two protected rows are no pair while any other row is there. O(N
    d) where the index keeps the pairs.
    """
    if room.needed(()) == 0:
        return []
    pairs = Pairs() if kept.pairs is None else kept.pairs
    protected = _shielded(room.protected)
    pairs.follow(kept.embedding, protected)
    to_newcomer = pairs.products(newcomer.embedding)
    leaving: list[int] = []
    while len(leaving) < len(kept.position):
        found = pairs.first()
        if found is None or not found[2] > to_newcomer.max():
            return None
        row = _leaves(found, protected)
        leaving.append(row)
        to_newcomer[row] = GONE
        if room.needed(leaving) is not None:
            return leaving
        pairs, protected = _without(pairs.trial() if len(leaving) == 1 else pairs, row, kept, protected, leaving)
    return None


def kcenter_leaving(kept: Kept, protected: npt.NDArray[np.bool_], seed: int) -> Rows:
    """Again and again the newer of the closest pair, protected rows last; the last row has no pair."""
    shielded = _shielded(protected)
    pairs = Pairs()
    pairs.follow(kept.embedding, shielded)
    leaving: list[int] = []
    while (found := pairs.first()) is not None:
        row = _leaves(found, shielded)
        leaving.append(row)
        pairs, shielded = _without(pairs, row, kept, shielded, leaving)
    left = np.setdiff1d(np.arange(len(kept.position)), leaving)
    return np.array([*leaving, *left[np.argsort(protected[left], kind="stable")]], np.int64)


def _shielded(protected: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """All protected is as none."""
    return np.zeros_like(protected) if protected.all() else protected


def _leaves(found: tuple[int, int, int], protected: npt.NDArray[np.bool_]) -> int:
    earlier, later, _ = found
    return earlier if protected[later] and not protected[earlier] else later


def _without(
    pairs: Pairs, row: int, kept: Kept, protected: npt.NDArray[np.bool_], leaving: Sequence[int]
) -> tuple[Pairs, npt.NDArray[np.bool_]]:
    """The pairs without a row; with the last unprotected one, protection ends."""
    rest = np.ones(len(protected), np.bool_)
    rest[list(leaving)] = False
    if not protected.any() or not protected[rest].all():
        pairs.take_out(row)
        return pairs, protected
    anew = Pairs()
    anew.follow(kept.embedding, np.zeros_like(protected))
    for gone in leaving:
        anew.take_out(gone)
    return anew, np.zeros_like(protected)
