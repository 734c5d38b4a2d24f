"""Which examples go into which step: seeded passes, cut into steps of so many examples or tokens."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from edgepers.hashing import mix_array

__all__ = ["batches", "batches_of_tokens"]


def _passes(examples: int, seed: int) -> Iterator[int]:
    """Without end; each pass visits every example once, in an order of its own."""
    epoch = 0
    while True:
        yield from map(int, np.argsort(mix_array((seed, epoch), np.arange(examples, dtype=np.int64)), kind="stable"))
        epoch += 1


def batches(examples: int, size: int, steps: int, seed: int) -> Iterator[list[int]]:
    """`steps` lists of `min(size, examples)` indices; each pass visits every example once, in an order of its own."""
    passes = _passes(examples, seed)
    for _ in range(steps):
        yield list(islice(passes, min(size, examples)))


def batches_of_tokens(lengths: Sequence[int], tokens: int, steps: int, seed: int) -> Iterator[list[int]]:
    """Cut the same passes into `steps` lists of indices.

    After each, all so far have as nearly `tokens` a step as whole examples allow.

    Args:
        lengths: tokens of each example, at least 1.
        tokens: of one step; a step has at least one example.
        steps: that are made.
        seed: of the order.
    """
    passes = _passes(len(lengths), seed)
    ahead, taken = next(passes), 0
    for step in range(1, steps + 1):
        chosen: list[int] = []
        while not chosen or taken + lengths[ahead] / 2 < step * tokens:
            chosen.append(ahead)
            taken += lengths[ahead]
            ahead = next(passes)
        yield chosen
