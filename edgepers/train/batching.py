"""Which examples go into which step: seeded passes over all of them, cut into steps of one size."""

from collections.abc import Iterator

import numpy as np

from edgepers.select.hashing import mix_array

__all__ = ["batches"]


def batches(examples: int, size: int, steps: int, seed: int) -> Iterator[list[int]]:
    """`steps` lists of `min(size, examples)` indices; each pass visits every example once, in an order of its own."""
    size = min(size, examples)
    queue: list[int] = []
    epoch = 0
    for _ in range(steps):
        while len(queue) < size:
            order = np.argsort(mix_array((seed, epoch), np.arange(examples, dtype=np.int64)), kind="stable")
            queue += [int(i) for i in order]
            epoch += 1
        yield queue[:size]
        queue = queue[size:]
