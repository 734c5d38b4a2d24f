"""Other orders of asking than by coverage: what a study compares it with, and the paper's scores.

Each takes the buffer, the positions of sets that were never asked about, the newest first, and of those that cover,
judged or asked about in this round; it returns the first positions again, in its order. Of equals the newest comes
first.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from edgepers.hashing import mix
from edgepers.select.density import values
from edgepers.select.index import Index
from edgepers.state.buffer import Buffer

__all__ = ["ORDERS"]

_DRAWN = 0x41534B  # apart from the hash by which `--policy random` keeps


def _newest(buffer: Buffer, fresh: Sequence[int], covering: Sequence[int]) -> Sequence[int]:
    return fresh


def _random(buffer: Buffer, fresh: Sequence[int], covering: Sequence[int]) -> Sequence[int]:
    """The same of a state each time."""
    seed = int(buffer.identity().get("seed", "0"))
    return sorted(fresh, key=lambda position: mix(_DRAWN, seed, position))


def _quality(buffer: Buffer, fresh: Sequence[int], covering: Sequence[int]) -> Sequence[int]:
    """Highest in the paper's three scores, EOE, DSS and IDD (its section 3.1), by the sum of their ranks."""
    if not fresh:
        return fresh
    kept = _index(buffer).kept()
    ranks = values(kept.entropy, kept.domain_score, kept.dissimilarity)
    value = dict(zip(kept.position.tolist(), ranks.tolist(), strict=True))
    return sorted(fresh, key=lambda position: -value[position])


def _loss(buffer: Buffer, fresh: Sequence[int], covering: Sequence[int]) -> Sequence[int]:
    """The response that the base model finds least likely; last those whose loss nobody has measured."""
    losses = {position: buffer.get(position).loss for position in fresh}
    return sorted(fresh, key=lambda position: math.inf if math.isnan(losses[position]) else -losses[position])


def _kcenter(buffer: Buffer, fresh: Sequence[int], covering: Sequence[int]) -> Sequence[int]:
    """Farthest from everything that was asked about (Sener and Savarese 2018, "Core-Set", greedy k-center)."""
    if not fresh:
        return fresh
    kept = _index(buffer).kept()
    row = {position: i for i, position in enumerate(kept.position.tolist())}
    vectors = kept.embedding[[row[position] for position in fresh]].astype(np.float32)
    centers = kept.embedding[[row[position] for position in covering]].astype(np.float32)
    nearest = (vectors @ centers.T).max(1) if covering else np.full(len(fresh), -np.inf, np.float32)
    left = np.ones(len(fresh), np.bool_)
    order = []
    for _ in fresh:
        chosen = int(np.argmin(np.where(left, nearest, np.inf)))
        left[chosen] = False
        order.append(fresh[chosen])
        nearest = np.maximum(nearest, vectors @ vectors[chosen])
    return order


def _index(buffer: Buffer) -> Index:
    sets = list(buffer)
    return Index(len(sets[0].embedding), sets)


ORDERS: dict[str, Callable[[Buffer, Sequence[int], Sequence[int]], Sequence[int]]] = {
    "newest": _newest,
    "random": _random,
    "quality": _quality,
    "loss": _loss,
    "kcenter": _kcenter,
}
