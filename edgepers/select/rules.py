"""The policies that compare scores, lengths, ages or hashes.

`leaving` orders put the lowest first, protected ones last, and the oldest of equals first.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgepers.hashing import mix, mix_array
from edgepers.select.density import values
from edgepers.select.lexicon import GENERAL
from edgepers.select.policy import Kept, Newcomer, Room, Rows

__all__ = [
    "HALF_LIFE_PER_KEPT",
    "aging",
    "aging_leaving",
    "fifo",
    "fifo_leaving",
    "higher",
    "longest",
    "longest_leaving",
    "loss",
    "loss_leaving",
    "quality",
    "quality_leaving",
    "random",
    "random_leaving",
]

HALF_LIFE_PER_KEPT = (
    32  # positions for each kept set in which a stored score halves under `aging` (benchmarks/LOG.md: how it was tuned)
)

Protected = npt.NDArray[np.bool_]


def quality(newcomer: Newcomer, kept: Kept, room: Room) -> Sequence[int] | None:
    """The paper's: once space has run out, evict sets that the newcomer beats in all three scores, in hashed order."""
    return _dominate(newcomer, kept, room, None)


def aging(newcomer: Newcomer, kept: Kept, room: Room, per_kept: float = HALF_LIFE_PER_KEPT) -> Sequence[int] | None:
    """Decide as `quality` does, with stored scores that halve every `per_kept` x N positions since their set came.

    So a small buffer forgets sooner.
    """
    return _dominate(newcomer, kept, room, per_kept * len(kept.position))


def _dominate(newcomer: Newcomer, kept: Kept, room: Room, half_life: float | None) -> Sequence[int] | None:
    if not room.refused_before and room.needed(()) == 0:
        return []
    fading = 1.0 if half_life is None else np.exp2((kept.position - newcomer.position) / half_life)

    def lower(stored: Rows, new: int) -> npt.NDArray[np.bool_]:
        return (stored if half_life is None else stored * fading) < new

    beaten = lower(kept.entropy, newcomer.entropy)
    beaten &= lower(kept.dissimilarity, newcomer.dissimilarity)
    if newcomer.domain != GENERAL:
        beaten &= lower(kept.domain_score, newcomer.domain_score)
    if not beaten.any():
        return None
    rows = np.flatnonzero(beaten)
    return room.take_lowest(rows, mix_array((room.seed, newcomer.position), kept.position[rows]))


def quality_leaving(kept: Kept, protected: Protected, seed: int) -> Rows:
    """Order rows by value: who is beaten in every score leaves before whoever beats it."""
    return np.lexsort((values(kept.entropy, kept.domain_score, kept.dissimilarity), protected))


def aging_leaving(kept: Kept, protected: Protected, seed: int, per_kept: float = HALF_LIFE_PER_KEPT) -> Rows:
    """Order rows by value of the faded scores; all fade alike, so it does not matter when this is asked for."""
    latest = kept.position.max(initial=0)
    fading = np.exp2((kept.position - latest) / (per_kept * len(kept.position)))
    scores = (kept.entropy, kept.domain_score, kept.dissimilarity)
    return np.lexsort((values(*(score * fading for score in scores)), protected))


def random(newcomer: Newcomer, kept: Kept, room: Room) -> Sequence[int] | None:
    """Keep the smallest hash(seed, position): a uniform sample of the stream, whatever its length."""
    hashes = mix_array((room.seed,), kept.position)
    rows = np.flatnonzero(hashes > np.uint64(mix(room.seed, newcomer.position)))
    return room.take_lowest(rows, ~hashes[rows])


def random_leaving(kept: Kept, protected: Protected, seed: int) -> Rows:
    """Order rows with the largest hash first."""
    return np.lexsort((~mix_array((seed,), kept.position), protected))


def fifo(newcomer: Newcomer, kept: Kept, room: Room) -> Sequence[int] | None:
    """Let the oldest sets leave."""
    return room.take_lowest(np.arange(len(kept.position)), kept.position)


def fifo_leaving(kept: Kept, protected: Protected, seed: int) -> Rows:
    """Order rows with the oldest first."""
    return np.lexsort((kept.position, protected))


def longest(newcomer: Newcomer, kept: Kept, room: Room) -> Sequence[int] | None:
    """The shortest leave, for a longer one.

    Length is in characters of question and response, not in bytes of the row: what is long does not change with how it
    is stored.
    """
    return higher(newcomer.characters, kept.characters, room)


def longest_leaving(kept: Kept, protected: Protected, seed: int) -> Rows:
    """Order rows with the shortest first."""
    return np.lexsort((kept.characters, protected))


def loss(newcomer: Newcomer, kept: Kept, room: Room) -> Sequence[int] | None:
    """Let those leave whose response the base model expected best, for one that it expected less.

    A loss that nobody has measured is lowest.
    """
    return higher(newcomer.loss, kept.loss, room)


def loss_leaving(kept: Kept, protected: Protected, seed: int) -> Rows:
    """Order rows with the lowest loss first."""
    return np.lexsort((kept.loss, protected))


def higher(of_newcomer: int, of_kept: Rows, room: Room) -> Sequence[int] | None:
    """Keep what is highest in one column: of those below the newcomer, the lowest leave."""
    rows = np.flatnonzero(of_kept < of_newcomer)
    return room.take_lowest(rows, of_kept[rows])
