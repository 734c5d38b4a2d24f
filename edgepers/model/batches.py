"""Batches of sets for one pass through a model: by tokens, and smaller ones where memory runs out."""

import traceback
from collections.abc import Callable, Iterator, Sequence

from edgepers.device import is_out_of_memory

__all__ = ["length_groups", "retry_halved"]


def length_groups(lengths: Sequence[int], budget: int, most: int | None = None) -> Iterator[list[int]]:
    """Indices by falling length, cut into groups of at most `budget` padded tokens and `most` rows."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    while order:
        count = max(min(budget // max(lengths[order[0]], 1), most or len(order)), 1)
        yield order[:count]
        order = order[count:]


def retry_halved(group: Sequence[int], run: Callable[[Sequence[int]], None]) -> None:
    """Run a batch of indices, in order; where memory runs out its halves, down to one set.

    Raises:
        MemoryError, torch.OutOfMemoryError, RuntimeError: there is not enough for one.
    """
    try:
        run(group)
        return
    except (MemoryError, RuntimeError) as error:
        if len(group) == 1 or not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they hold what filled the memory
    half = len(group) // 2
    retry_halved(group[:half], run)
    retry_halved(group[half:], run)
