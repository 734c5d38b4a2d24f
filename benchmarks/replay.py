"""A scored stream replayed through a policy, in memory: rows' bytes may add up to a share of the whole stream's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgepers.select.index import Index, newcomer_of
from edgepers.select.policy import Policy, Room
from edgepers.state.records import KeptSet

__all__ = ["Replayed", "replay"]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a policy did with a stream of T sets."""

    admitted: npt.NDArray[np.bool_]  # [T]
    dissimilarity: npt.NDArray[np.float64]  # [T], IDD on arrival
    kept: list[int]  # positions at the end, in order


def replay(stream: Sequence[KeptSet], budget_bytes: float, policy: Policy, seed: int) -> Replayed:
    """Decide on each set as a selector would whose buffer holds so many bytes of rows, and nothing else."""
    index = Index(len(stream[0].embedding), [])
    held: dict[int, int] = {}
    admitted, dissimilarity = np.zeros(len(stream), bool), np.zeros(len(stream))
    full = False
    for i, one in enumerate(stream):
        kept, free = index.kept(), budget_bytes - sum(held.values())

        def needed(rows: Sequence[int] | npt.NDArray[np.int64]) -> int | None:
            freed = free + np.cumsum([0, *kept.stored_bytes[np.asarray(rows, np.int64)]])  # noqa: B023
            enough = np.flatnonzero(freed >= one.stored_bytes)  # noqa: B023
            return int(enough[0]) if len(enough) else None

        dissimilarity[i] = index.dissimilarity_of(one.embedding, one.domain)
        evict = policy(newcomer_of(one, dissimilarity[i]), kept, Room(seed, full, needed, kept.annotated))
        full = full or free < one.stored_bytes
        if evict is None:
            continue
        gone = [int(position) for position in kept.position[list(evict)]]
        index.remove(gone)
        for position in gone:
            del held[position]
        index.add(one)
        held[one.position] = one.stored_bytes
        admitted[i] = True
    return Replayed(admitted, dissimilarity, list(held))
