"""The paper's buffer, for comparison.

Bins of 22 KB, one dialogue set in each, whatever it takes stored (Qin et al., DAC 2024).
"""

from collections.abc import Sequence
from dataclasses import replace

from edgepers.select.policies import policy_named
from edgepers.select.policy import Kept, Newcomer, Policy, Room, Rows

__all__ = ["BIN_BYTES", "bins", "in_places"]

BIN_BYTES = 22_000


def bins(storage: int) -> Policy:
    """`quality` over as many bins as `storage` bytes have.

    The first sets fill them, and each later one replaces one set or none.
    """
    return in_places(policy_named("quality"), storage // BIN_BYTES)


def in_places(policy: Policy, places: int) -> Policy:
    """A policy over so many places, one set in each, whatever it takes stored."""

    def decide(newcomer: Newcomer, kept: Kept, room: Room) -> Sequence[int] | None:
        too_many = max(len(kept.position) + 1 - places, 0)

        def needed(order: Sequence[int] | Rows) -> int | None:
            of_bytes = room.needed(order)
            return None if of_bytes is None or too_many > len(order) else max(of_bytes, too_many)

        return policy(newcomer, kept, replace(room, refused_before=room.refused_before or too_many > 0, needed=needed))

    return decide
