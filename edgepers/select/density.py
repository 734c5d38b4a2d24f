"""One value of the three scores, and the policy `density`: value per stored byte.

The scores' scales have nothing in common (EOE lies in [0, 1] and hardly moves, DSS is divided by the number of
lexicons, IDD reaches 2),
so they are compared by rank: a set's value is the mean of the shares of the buffer that it beats in each, ties counted
half.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepers.select.policy import Kept, Newcomer, Room, Rows

__all__ = ["density", "density_leaving", "values"]


def values(*scores: npt.NDArray[Any]) -> Rows:
    """Value N sets by their scores [N] each: 2 x (sets below) + (sets level), summed over scores.

    A set is level with itself, so the least is 1 a score.

    Divided by 2 N scores it is the mean share beaten. Who is lower in no score and higher in one has the higher value.
    """
    total: Rows = np.sum([_ranks(score) for score in scores], axis=0, dtype=np.int64)
    return total


def _ranks(score: npt.NDArray[Any]) -> Rows:
    _, places, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks: Rows = (2 * np.cumsum(counts) - counts)[places]
    return ranks


def density(newcomer: Newcomer, kept: Kept, room: Room) -> Sequence[int] | None:
    """Keep the highest value per stored byte, as a greedy knapsack does (Dantzig 1957).

    Of those less dense than the newcomer, the least dense leave.
    """
    if room.needed(()) == 0:
        return []
    per_byte = _per_byte(
        np.append(kept.entropy, newcomer.entropy),
        np.append(kept.domain_score, newcomer.domain_score),
        np.append(kept.dissimilarity, newcomer.dissimilarity),
        stored_bytes=np.append(kept.stored_bytes, newcomer.stored_bytes),
    )
    rows = np.flatnonzero(per_byte[:-1] < per_byte[-1])
    return room.take_lowest(rows, per_byte[rows])


def density_leaving(kept: Kept, protected: npt.NDArray[np.bool_], seed: int) -> Rows:
    """Order rows with the least dense first."""
    per_byte = _per_byte(kept.entropy, kept.domain_score, kept.dissimilarity, stored_bytes=kept.stored_bytes)
    return np.lexsort((per_byte, protected))


def _per_byte(*scores: Rows, stored_bytes: Rows) -> npt.NDArray[np.float64]:
    return values(*scores) / np.maximum(stored_bytes, 1)
