"""Policies: who enters the buffer, and who leaves.

A policy is a callable `(newcomer, kept, room) -> rows of kept to evict, or None to drop the newcomer`. Every random
choice is a hash of (seed, position), so a resumed stream decides as an uninterrupted one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgepers.select.embedding import Int8, scale
from edgepers.select.hashing import mix, mix_array
from edgepers.select.lexicon import GENERAL

__all__ = ["GRID", "Kept", "Newcomer", "Policy", "Room", "fifo", "kcenter", "named_policies", "quality", "random"]

GRID = 4096  # scores are compared in steps of 1/4096; a tie is not lower

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Newcomer:
    """The set to decide on; scores in steps of 1/GRID."""

    position: int
    entropy: int
    domain_score: int
    dissimilarity: int
    domain: str
    embedding: Int8


@dataclass(frozen=True, slots=True)
class Kept:
    """The buffer as arrays, one row a kept set, in order of arrival; scores in steps of 1/GRID, IDD against the present buffer."""

    position: Rows
    entropy: Rows
    domain_score: Rows
    dissimilarity: Rows
    annotated: npt.NDArray[np.bool_]
    embedding: Int8  # [N, width]


@dataclass(frozen=True, slots=True)
class Room:
    """What a policy may know of space."""

    seed: int
    refused_before: bool  # some newcomer has already found no room
    needed: Callable[[Sequence[int] | Rows], int | None]  # how many first rows of an order must leave; None: all are not enough
    protected: npt.NDArray[np.bool_]  # rows that leave only when no other of the order can

    def take(self, order: Rows) -> list[int] | None:
        """The fewest first rows of `order` whose leaving makes room, unprotected ones first; None where all are not enough."""
        shielded = self.protected[order]
        order = np.concatenate([order[~shielded], order[shielded]])
        count = self.needed(order)
        return None if count is None else [int(row) for row in order[:count]]


Policy = Callable[[Newcomer, Kept, Room], Sequence[int] | None]


def quality(newcomer: Newcomer, kept: Kept, room: Room) -> Sequence[int] | None:
    """The paper's: once space has run out, evict sets that the newcomer beats in all three scores, in hashed order."""
    if not room.refused_before and room.needed(()) == 0:
        return []
    beaten = (kept.entropy < newcomer.entropy) & (kept.dissimilarity < newcomer.dissimilarity)
    if newcomer.domain != GENERAL:
        beaten &= kept.domain_score < newcomer.domain_score
    rows = np.flatnonzero(beaten)
    if not len(rows):
        return None
    return room.take(rows[np.argsort(mix_array((room.seed, newcomer.position), kept.position[rows]), kind="stable")])


def random(newcomer: Newcomer, kept: Kept, room: Room) -> Sequence[int] | None:
    """Keep the smallest hash(seed, position): a uniform sample of the stream, whatever its length."""
    hashes = mix_array((room.seed,), kept.position)
    rows = np.flatnonzero(hashes > np.uint64(mix(room.seed, newcomer.position)))
    return room.take(rows[np.argsort(hashes[rows], kind="stable")[::-1]])


def fifo(newcomer: Newcomer, kept: Kept, room: Room) -> Sequence[int] | None:
    """The oldest leave."""
    return room.take(np.argsort(kept.position, kind="stable"))


def kcenter(newcomer: Newcomer, kept: Kept, room: Room) -> Sequence[int] | None:
    """Full: while the newcomer is farther from its nearest than the closest stored pair apart, the newer of that pair leaves."""
    if room.needed(()) == 0:
        return []
    vectors = kept.embedding.astype(np.float32)  # products of int8 rows below 2**24 terms are exact enough to rank, and fast
    products = vectors @ vectors.T / scale(vectors.shape[1]) ** 2
    to_newcomer = vectors @ newcomer.embedding.astype(np.float32) / scale(vectors.shape[1]) ** 2
    np.fill_diagonal(products, -np.inf)
    unprotected = ~room.protected if not room.protected.all() else np.ones_like(room.protected)
    leaving: list[int] = []
    while len(leaving) < len(vectors):
        first, second = np.unravel_index(int(products.argmax()), products.shape)
        if not products[first, second] > to_newcomer.max():
            return None
        pair = sorted((int(first), int(second)), key=lambda row: (bool(unprotected[row]), kept.position[row]))
        leaves = pair[1]  # the newer, unless only the older is unprotected
        leaving.append(leaves)
        products[leaves, :] = products[:, leaves] = to_newcomer[leaves] = -np.inf
        if room.needed(leaving) is not None:
            return leaving
    return None


def named_policies() -> dict[str, Policy]:
    """The policies that `--policy` knows."""
    return {"quality": quality, "random": random, "fifo": fifo, "kcenter": kcenter}
